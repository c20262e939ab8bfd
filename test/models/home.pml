/* The home rule (DESIGN section 5, "Home is total"; docs/sync-models.md).

   A key is homed at H. Its region W, not its home, accepts a revocation and forwards it to H. What a reader R may allow
   about the key rests on a lease on H alone: R polls H with a nonce. W sends R its own entry too, and R takes it when
   it comes (`may_revoke`), but no lease of R's hangs on W. So W knows nothing of what R may still allow until H does.

   Discrete time, one clock. Entries are on disk; books, leases and nonces are in memory; H and R may restart.

   Checked: nothing is allowed later than L after acceptance *at home*; nothing after W or H has said "no region can
   allow any more". W may answer `unconfirmed` at any time, which promises nothing.

   Seeded faults, each of which must be found:
   BUG_AWAY     W's barrier waits for the leases that W itself granted, of which R needs none
   BUG_FORWARD  W's barrier returns when H has received the revocation, not when H's own barrier has
   BUG_STALE    H answers polls while it holds a forwarded entry that it has promised and not yet stored
   BUG_BOOK     a restarted H takes its empty book for "nobody is leased" */
#ifndef L
#define L 2
#endif
#ifndef TMAX
#define TMAX 5
#endif

byte now = 0;
/* W: on disk; then what it told its caller */
bit w_revoked = 0;
bit w_barrier = 0;
/* W -> H the entry, H -> W what became of it: 1 received, 2 effective everywhere */
bit forward = 0;
byte report = 0;
byte w_knows = 0;
/* H: on disk, then in memory */
bit h_revoked = 0;
byte accepted = 0;
bit granted = 0;
byte until = 0;
bit h_barrier = 0;
#ifdef BUG_STALE
bit h_promised = 0;
#endif
/* poll R -> H: 0 none, 1 under way, 2 answered */
byte poll = 0;
byte sent = 0;
bit head = 0;
/* R */
bit have = 0;
bit leased = 0;
byte from = 0;
bit push = 0;

#define FREE poll = 0; sent = 0; head = 0

#ifdef BUG_STALE
#define ACCEPTED (h_promised || h_revoked)
#else
#define ACCEPTED h_revoked
#endif
#ifdef REACH /* to be found: an allow after acceptance, in time */
#define SENT assert(!ACCEPTED)
#else
#define SENT assert(!ACCEPTED || now <= accepted + L); assert(!w_barrier && !h_barrier)
#endif

active proctype Sys() {
  do
  :: d_step { now < TMAX -> now++ }
  :: d_step { !w_revoked -> w_revoked = 1 }
  /* W forwards, as often as it takes */
  :: d_step { w_revoked && !forward && !h_revoked -> forward = 1 }
  :: d_step { forward -> forward = 0 }
#ifdef BUG_STALE
  :: d_step { forward && !h_promised && !h_revoked -> forward = 0; h_promised = 1; accepted = now }
  :: d_step { h_promised && !h_revoked -> h_revoked = 1 }
#else
  :: d_step { forward -> forward = 0; if :: !h_revoked -> h_revoked = 1; accepted = now :: else fi }
#endif
  /* H reports back */
  :: d_step { h_revoked && report == 0 -> report = 1 + h_barrier }
  :: d_step { report > 0 -> report = 0 }
  :: d_step { report > 0 -> if :: report > w_knows -> w_knows = report :: else fi; report = 0 }

  /* R polls H */
  :: d_step { poll == 0 -> poll = 1; sent = now }
  :: d_step { poll == 1 -> poll = 2; head = h_revoked; if :: !h_revoked -> granted = 1; until = now + L :: else fi }
  :: d_step { poll != 0 -> FREE }
  :: d_step { poll == 2 -> have = have || head;
       if :: !leased || sent > from -> from = sent :: else fi; leased = 1; FREE }
  /* W's entry reaches R directly: binds there, but nobody counts on it */
  :: d_step { w_revoked && !push -> push = 1 }
  :: d_step { push -> push = 0 }
  :: d_step { push -> push = 0; have = 1 }

  /* restarts */
#ifdef BUG_BOOK
  :: d_step { granted -> granted = 0; until = 0 }
#else
  :: d_step { !granted || until < now + L -> granted = 1; until = now + L }
#endif
  :: d_step { leased || poll != 0 -> leased = 0; from = 0; FREE }

  /* barriers */
  :: d_step { h_revoked && !h_barrier && (!granted || now > until) -> h_barrier = 1 }
#if defined(BUG_AWAY)
  :: d_step { w_revoked && !w_barrier -> w_barrier = 1 }
#elif defined(BUG_FORWARD)
  :: d_step { w_knows >= 1 && !w_barrier -> w_barrier = 1 }
#else
  :: d_step { w_knows == 2 && !w_barrier -> w_barrier = 1 }
#endif

  /* R allows */
  :: d_step { leased && !have && now - from <= L ->
       SENT }
  od
}
