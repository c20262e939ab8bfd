/* One hop: origin O grants, region R relies (DESIGN section 5, docs/sync-models.md).

   Discrete time. O accepts one revocation (durable at once: `revoked` survives a restart of O) and keeps its book of
   leases in memory. R polls with a nonce, keeps entries and its clock mark on disk, and its lease and the nonces of
   its polls in memory. The network loses, delays and reorders. Either side may restart at any moment. R's clock may be
   set forwards and back; O's only drifts.

   Checked: nothing is allowed later than L after acceptance, nothing after O has said "no region can allow any more".

   Seeded faults, each of which must be found:
   BUG_RECEIPT  the lease runs from the receipt of the answer
   BUG_PUSH     a push, which answers no nonce, extends the lease
   BUG_ORDER    the lease is extended before the entries of the answer are applied
   BUG_CLOCK    no mark: a clock that was set back is not noticed
   BUG_FLIGHT   the lease is dropped when the clock was set back, but polls that were under way still count
   BUG_BOOK     a restarted O takes its empty book for "nobody is leased"
   BUG_AWAIT    O reads its head, and enters the grant only later, when the answer leaves
   BUG_KEEP     R's lease survives its restart, and the clock may have been set back meanwhile, without a mark on disk */
#ifndef L
#define L 2
#endif
#ifndef TMAX
#define TMAX 5
#endif
#ifndef NP
#define NP 2 /* polls under way */
#endif
#define CLOCK 2 /* R's clock shows now + off, off in 0..CLOCK */

byte now = 0;
/* O: on disk */
bit revoked = 0;
byte accepted = 0;
/* O: in memory. Leases it may have granted end at `until`; nothing was granted yet. */
byte until = 0;
bit granted = 0;
/* O's word to its caller */
bit barrier = 0;

/* The network: poll p left at `sent[p]` by R's clock; state 0 none, 1 under way, 2 answered with `head[p]`. */
byte poll[NP];
byte sent[NP];
bit head[NP];
#ifdef BUG_AWAIT
bit reading[NP]; /* O has read its head for this answer and not yet entered the grant */
#endif
bit push = 0;

/* R */
bit have = 0;
bit leased = 0;
byte from = 0;
byte off = 1;
byte mark = 0;
#ifdef BUG_ORDER
bit late = 0; /* an entry that came with a lease and is not yet applied */
#endif

#define clock (now + off)

#ifdef BUG_CLOCK
#define SOUND true
#else
/* Each look at the clock raises the mark, and below it nothing counts (`clock_anomaly`). */
#define SOUND (clock >= mark)
#endif

#define FREE(p) poll[p] = 0; sent[p] = 0; head[p] = 0

inline lose_memory() {
  leased = 0; from = 0;
  FREE(0); FREE(1)
}

/* R looks at its clock: it raises the mark, or finds that the clock was set back. */
inline look() {
#ifdef BUG_CLOCK
  skip
#else
  if
  :: clock >= mark -> mark = clock
  :: else ->
#ifdef BUG_FLIGHT
     leased = 0; from = 0
#else
     lose_memory()
#endif
  fi
#endif
}

inline take(p) {
  look();
  if
  :: poll[p] == 2 && SOUND ->
#ifdef BUG_ORDER
     late = late || head[p];
#else
     have = have || head[p];
#endif
#ifdef BUG_RECEIPT
     from = clock;
#else
     if :: !leased || sent[p] > from -> from = sent[p] :: else fi;
#endif
     leased = 1;
     FREE(p)
  :: else
  fi
}

#ifdef BUG_AWAIT
#define ANSWER(p) \
  :: d_step { poll[p] == 1 && !reading[p] -> reading[p] = 1; head[p] = revoked } \
  :: d_step { poll[p] == 1 && reading[p] -> reading[p] = 0; poll[p] = 2; \
       if :: !head[p] -> granted = 1; until = now + L :: else fi }
#else
#define ANSWER(p) \
  :: d_step { poll[p] == 1 -> poll[p] = 2; head[p] = revoked; \
       if :: !revoked -> granted = 1; until = now + L :: else fi }
#endif

#define POLL(p) \
  :: d_step { poll[p] == 0 -> look(); if :: SOUND -> poll[p] = 1; sent[p] = clock :: else fi } \
  ANSWER(p) \
  :: d_step { poll[p] != 0 -> FREE(p) } /* lost */ \
  :: d_step { poll[p] == 2 -> take(p) }

#ifdef REACH /* to be found: an allow after acceptance, in time */
#define SENT assert(!revoked)
#else
#define SENT assert(!revoked || now <= accepted + L); assert(!barrier)
#endif

active proctype Sys() {
  do
  :: d_step { now < TMAX -> now++; look() }
  /* O accepts */
  :: d_step { !revoked -> revoked = 1; accepted = now }
  /* O restarts: its book is gone, so everybody may be leased until now + L */
#ifdef BUG_BOOK
  :: d_step { granted -> granted = 0; until = 0 }
#else
  :: d_step { !granted || until < now + L -> granted = 1; until = now + L }
#endif
  POLL(0)
  POLL(1)
  /* A push carries the entry, never a lease */
  :: d_step { revoked && !push -> push = 1 }
  :: d_step { push -> push = 0 }
  :: d_step { push -> push = 0; have = 1 }
#ifdef BUG_PUSH
  :: d_step { leased && !revoked -> from = clock }
  :: d_step { leased && !have -> from = clock }
#endif
#ifdef BUG_ORDER
  :: d_step { late -> late = 0; have = 1 }
#endif
  /* R restarts: entries and mark are on disk, the lease and the nonces are not */
#ifdef BUG_KEEP
  :: d_step { leased -> FREE(0); FREE(1); mark = 0; if :: off > 0 -> off-- :: else fi }
#else
  :: d_step { leased || poll[0] != 0 || poll[1] != 0 -> lose_memory() }
#endif
  /* R's clock is set. R looks at it before it has caught up with the mark: a step back that is smaller than the time
     between two looks (busy: a poll each L/4) is not noticed, and has to fit into the drift of the budget. */
  :: d_step { off > 0 -> off--; look() }
  :: d_step { off < CLOCK -> off++; look() }
  /* An operator resets a mark that a jump forwards left: nothing that was timed before counts */
  :: d_step { clock < mark -> mark = clock; lose_memory() }
  /* wait=barrier returns: R has it, or every lease has ended */
  :: d_step { revoked && !barrier && (have || !granted || now > until) -> barrier = 1 }
  /* R allows */
  :: d_step { SOUND && leased && !have && clock - from <= L ->
       SENT }
  od
}
