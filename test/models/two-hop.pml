/* Two hops, one budget: origin O, authority A of another region, shard S where the decision is taken
   (DESIGN section 5, docs/sync-models.md).

   Discrete time, one clock without drift, so that only the protocol is tested. O accepts one revocation (durable at
   once). A polls O and S polls A, each with a nonce; the network loses, delays and reorders. Entries are on disk;
   leases, nonces and the books of leases that a grantor keeps are in memory. O, A and S may restart at any moment.

   Checked: no allow leaves later than LP after acceptance, none after O has said "no region can allow any more".

   Seeded faults, each of which must be found:
   BUG_NEST     S counts its whole own lease from A, where only what A's lease on O has left was granted
   BUG_ANSWER   S counts what is left from the receipt of A's answer, not from its own poll
   BUG_HAVE     A reports to O what A has, not what S has made effective
   BUG_RELEASE  an allow leaves without the look at lease and entries after commit and signature
   BUG_DOOR     the turn judges the lease by the time at which the request came in at the door
   BUG_BOOK_O   a restarted O takes its empty book for "nobody is leased"
   BUG_BOOK_A   a restarted A does, and reports for S
   BUG_SHORT    O waits for the end of the lease it granted less than it granted */
#ifndef LP
#define LP 2 /* A's lease on O */
#endif
#ifndef LS
#define LS 1 /* S's lease from A, at most what A's has left */
#endif
#ifndef TMAX
#define TMAX 4
#endif

byte now = 0;
/* O: on disk, then in memory */
bit revoked = 0;
byte accepted = 0;
bit granted = 0;
byte until = 0;
bit confirmed = 0; /* A's region has reported the revocation as effective */
bit barrier = 0;
/* poll A -> O: 0 none, 1 under way, 2 answered */
byte ap = 0;
byte ap_sent = 0;
bit ap_head = 0;
bit ap_have = 0;
/* A: on disk, then in memory */
bit a_have = 0;
bit a_leased = 0;
byte a_from = 0;
bit a_granted = 0; /* the book on S */
byte a_until = 0;
/* poll S -> A */
byte sp = 0;
byte sp_sent = 0;
bit sp_head = 0;
byte sp_left = 0; /* what A's lease has left, plus one; 0: A has none */
/* S: on disk, then in memory */
bit s_have = 0;
byte s_end = 0; /* end of the lease, plus one; 0: none */
bit push = 0;
/* an allow that was decided and waits for commit and signature */
bit reply = 0;
#ifdef BUG_DOOR
bit door = 0;
byte door_at = 0;
#endif

#define AP_NONE ap = 0; ap_sent = 0; ap_head = 0; ap_have = 0
#define SP_NONE sp = 0; sp_sent = 0; sp_head = 0; sp_left = 0
#define MIN(x, y) (x < y -> x : y)

#define A_FRESH (a_leased && now <= a_from + LP)
#define A_LEFT (a_from + LP - now)

#ifdef BUG_HAVE
#define A_EFFECTIVE a_have
#else
/* Effective: S has it, or no lease that A granted to S without it is left. */
#define A_EFFECTIVE (a_have && (s_have || !a_granted || now > a_until))
#endif

#define S_FRESH(t) (s_end > 0 && t < s_end)

/* O's book is of no interest after its last word: cleared, so that there are fewer states. */
#define OVER barrier = 1; confirmed = 0; granted = 0; until = 0

#ifdef REACH /* to be found: an allow after acceptance, in time */
#define SENT assert(!revoked)
#else
#define SENT assert(!revoked || now <= accepted + LP); assert(!barrier)
#endif

active proctype Sys() {
  do
  :: d_step { now < TMAX -> now++ }
  :: d_step { !revoked -> revoked = 1; accepted = now }

  /* A polls O and says what is effective in its region; O books the grant before the answer leaves */
  :: d_step { ap == 0 -> ap = 1; ap_sent = now; ap_have = A_EFFECTIVE }
  :: d_step { ap == 1 -> ap = 2; ap_head = revoked;
       if :: ap_have && !barrier -> confirmed = 1 :: else fi; ap_have = 0;
       if :: !revoked && !barrier -> granted = 1; until = now + LP :: else fi }
  :: d_step { ap != 0 -> AP_NONE }
  :: d_step { ap == 2 -> a_have = a_have || ap_head;
       if :: !a_leased || ap_sent > a_from -> a_from = ap_sent :: else fi;
       a_leased = 1; AP_NONE }

  /* S polls A; A answers with what is left of its own lease, and books what it grants */
  :: d_step { sp == 0 -> sp = 1; sp_sent = now }
  :: d_step { sp == 1 -> sp = 2; sp_head = a_have;
       if
       :: A_FRESH -> sp_left = A_LEFT + 1;
          if :: !a_have -> a_granted = 1; a_until = now + LS :: else fi
       :: else -> sp_left = 0
       fi }
  :: d_step { sp != 0 -> SP_NONE }
  :: d_step { sp == 2 -> s_have = s_have || sp_head;
       if
       :: sp_left == 0 -> skip
       :: else ->
#if defined(BUG_NEST)
          s_end = sp_sent + LS + 1
#elif defined(BUG_ANSWER)
          s_end = now + MIN(LS, sp_left - 1) + 1
#else
          s_end = sp_sent + MIN(LS, sp_left - 1) + 1
#endif
       fi;
       SP_NONE }
  /* A pushes the entry to S; a push carries no lease */
  :: d_step { a_have && !push -> push = 1 }
  :: d_step { push -> push = 0 }
  :: d_step { push -> push = 0; s_have = 1 }

  /* Restarts. A grantor that lost its book assumes that everybody is leased until now + L. */
#ifdef BUG_BOOK_O
  :: d_step { granted && !barrier -> granted = 0; until = 0 }
#else
  :: d_step { !barrier && (!granted || until < now + LP) -> granted = 1; until = now + LP }
#endif
#ifdef BUG_BOOK_A
  :: d_step { a_granted || a_leased || ap != 0 -> a_granted = 0; a_until = 0; a_leased = 0; a_from = 0; AP_NONE }
#else
  :: d_step { a_leased || ap != 0 || !a_granted || a_until < now + LS ->
       a_granted = 1; a_until = now + LS; a_leased = 0; a_from = 0; AP_NONE }
#endif
  :: d_step { s_end > 0 || sp != 0 || reply -> s_end = 0; reply = 0; SP_NONE }

  /* wait=barrier returns at O: confirmed as effective, or every lease has ended */
#ifdef BUG_SHORT
  :: d_step { revoked && !barrier && (confirmed || !granted || now >= until) -> OVER }
#else
  :: d_step { revoked && !barrier && (confirmed || !granted || now > until) -> OVER }
#endif

  /* A request is decided in one turn, by the clock as it is in the turn */
#ifdef BUG_DOOR
  :: d_step { !door -> door = 1; door_at = now }
  :: d_step { door && !reply && !s_have && S_FRESH(door_at) -> reply = 1; door = 0; door_at = 0 }
  :: d_step { reply -> reply = 0; SENT }
#else
  :: d_step { !reply && !s_have && S_FRESH(now) -> reply = 1 }
  /* ... and leaves after commit and signature, if what it rests on still stands; else it is withheld */
#ifdef BUG_RELEASE
  :: d_step { reply -> reply = 0; SENT }
#else
  :: d_step { reply -> reply = 0; if :: !s_have && S_FRESH(now) -> SENT :: else fi }
#endif
#endif
  od
}
