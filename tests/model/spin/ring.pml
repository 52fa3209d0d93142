/* The helpable append and its release (ring/ring.cpp, recovery.cpp: redo_journal, api/maintain.cpp: release_through).

   Modelled: records 1 and 2 are versions of one key, record 3 is of another; a ring of N cells, fewer than events, so
   positions wrap. Appender 0 owns record 1 (WHO: bits of those that run); appender 1 pays it too before it installs and appends record 2 (if TWO); appender 2
   appends record 3. Each may be killed at any step or stop for ever; what they owe is then paid by the supervisor
   alone. The supervisor consumes BATCH cells at a time: confirms, hands out, writes the journal with the counters as
   they will be, releases (K1-K4); it may be killed at any step, and its successor redoes the journal.
   Abstracted: how records come into their slots (one_key.pml); reclamation, but a released record is `done`.
   Checked: each record is handed out once, or again only when the supervisor was killed before the release; in its
   cell exactly when its word says so [RG-2]; recycled only when confirmed [RG-3]; 1 before 2 [RG-4]; the counter is
   the number of positions released [RG-5]; head <= tail + 1 and tail <= head + N [RG-1]. */
#include "model.h"
#define SUP 3
#define KILLABLE(p) ((p) < 3)
#define BUG_NOCONFIRM 1  /* released without confirming for the appender */
#define BUG_ADD 2        /* the journal adds to the counters */
#define BUG_HEADFIRST 3  /* the head moves before the cell is empty */
#define BUG_PLAIN 4      /* E2 by a plain store */
#define BUG_NOPOS 5      /* empty cells are all alike */
#define BUG_NOREDO 6     /* a successor forgets the journal */
hidden byte N, BATCH, WHO, TWO;
#define NMAX 3
#define NONE 99
#define EMPTYC(t) (bug == BUG_NOPOS -> 32 : 32 + (t))
#define PROP(t) (16 + (t))
#define CONF(t) (64 + (t))
byte cell[NMAX], head, tail, ev[4];  /* ev: 0 PENDING, PROP, CONF */
bool installed2, done[4], dead[3], fin[3];
byte handed[4], counter, order;      /* order: ghost, the last of records 1 and 2 that was handed out */
bool jvalid; byte jend, jcount;
inline find_position(p) {
  do
  :: atomic { STEP(p) h = head }
     atomic { STEP(p) t = tail }
     if
     :: t >= h + N -> atomic { STEP(p) if :: head == h -> t = NONE; break :: else fi }
     :: else ->
        atomic { STEP(p) c = cell[t % N] }
        if
        :: c == EMPTYC(t) -> break
        :: c < 16 -> atomic { STEP(p) if :: tail == t -> tail = t + 1 :: else fi; t = 0; h = 0; c = 0 }
        :: else
        fi
     fi
  od;
  c = 0; h = 0
}
/* ok 0: the ring is full */
inline append(p, r) {
  ok = 1;
  do
  :: atomic { STEP(p) w = ev[r] }
     if
     :: w >= 64 -> break
     :: w >= 16 && w < 64 ->
        t = w - 16;
        atomic { STEP(p) c = cell[t % N] }
        if
        :: c == EMPTYC(t) -> atomic { STEP(p) if :: cell[t % N] == EMPTYC(t) || bug == BUG_PLAIN -> cell[t % N] = r :: else fi; t = 0; c = 0; w = 0 }  /* E2 */
        :: c == r ->
           atomic { STEP(p) if :: ev[r] == w -> ev[r] = CONF(t) :: else fi }  /* E3 */
           atomic { STEP(p) if :: tail == t -> tail = t + 1 :: else fi; t = 0; c = 0; w = 0 }      /* E4 */
        :: else ->
           c = 0; t = 0;
           find_position(p);
           if :: t == NONE -> ok = 0; break :: else -> atomic { STEP(p) if :: ev[r] == w -> ev[r] = PROP(t) :: else fi; t = 0; w = 0 } fi  /* E1' */
        fi
     :: else ->
        find_position(p);
        if :: t == NONE -> ok = 0; break :: else -> atomic { STEP(p) if :: ev[r] == w -> ev[r] = PROP(t) :: else fi; t = 0; w = 0 } fi  /* E1 */
     fi
  od;
  skip;
  d_step { w = 0; t = 0; c = 0 }
}
#define ROOM(r) (tail - head < N || ev[r] >= 64)
proctype Appender(byte p) {
  byte w, t, c, h; bool ok;
again:
  ROOM(1 + (p == 2) * 2);
  if
  :: p < 2 -> append(p, 1)
  :: else -> append(p, 3)
  fi;
  if :: !ok -> goto again :: else fi;
  if
  :: p == 1 && TWO ->
     assert(ev[1] >= 64);
     atomic { STEP(p) installed2 = 1 }
     do
     :: ROOM(2) -> append(p, 2); if :: ok -> break :: else fi
     od
  :: else
  fi;
  fin[p] = 1;
died:
  skip
}
inline release(p, t) {
  if :: bug == BUG_HEADFIRST -> atomic { STEP(p) if :: head == t -> head = t + 1 :: else fi } :: else fi;
  atomic { STEP(p)  /* K3 */
    if
    :: cell[t % N] < 16 -> assert(bug == BUG_NOCONFIRM || ev[cell[t % N]] == CONF(t)); done[cell[t % N]] = 1
    :: else
    fi;
    cell[t % N] = EMPTYC(t + N)
  }
  if :: bug != BUG_HEADFIRST -> atomic { STEP(p) if :: head == t -> head = t + 1 :: else fi } :: else fi
}
inline redo() {
  if
  :: jvalid && bug != BUG_NOREDO ->
     atomic { STEP(SUP) if :: bug == BUG_ADD -> counter = counter + jcount :: else -> counter = jcount fi }  /* K2 */
     atomic { STEP(SUP) h = head }
     do
     :: h < jend -> release(SUP, h); h++
     :: else -> break
     od;
     atomic { STEP(SUP) jvalid = 0 }  /* K4 */
  :: else
  fi;
  h = 0
}
#define FILLED(t) (cell[(t) % N] < 16)
#define OWES(r) (ev[r] < 64)
proctype Supervisor() {
  byte w, t, c, h, n; bool ok;
again:
  redo();
  do
  :: FILLED(head) && n < BATCH && FILLED(head + n) ->
     t = head + n;
     c = cell[t % N];
     if
     :: bug != BUG_NOCONFIRM ->
        atomic { STEP(SUP) if :: ev[c] == PROP(t) -> ev[c] = CONF(t) :: else fi }
        assert(ev[c] == CONF(t));
        atomic { STEP(SUP) if :: tail == t -> tail = t + 1 :: else fi }
     :: else
     fi;
     atomic { STEP(SUP)
       assert(!done[c] && (handed[c] == 0 || restarts > 0) && (c == 3 || order <= c));
       if :: c != 3 -> order = c :: else fi;
       handed[c] = 1; n++; c = 0; t = 0
     }
  :: n > 0 ->
     atomic { STEP(SUP) jcount = (bug == BUG_ADD -> n : counter + n); jend = head + n }
     atomic { STEP(SUP) jvalid = 1; n = 0 }  /* K1 */
     redo();
     assert(counter == head && head <= tail + 1 && tail <= head + N)
     /* debts of the dead */
  :: n == 0 && dead[0] && OWES(1) && tail - head < N -> append(SUP, 1)
  :: n == 0 && dead[1] && !OWES(1) && installed2 && OWES(2) && tail - head < N -> append(SUP, 2)
  :: n == 0 && dead[2] && OWES(3) && tail - head < N -> append(SUP, 3)
  :: n == 0 && !FILLED(head) && !OWES(1) && (!OWES(2) || ((dead[1] || !TWO) && !installed2)) && !OWES(3) && (fin[0] || dead[0]) && (fin[1] || dead[1]) && (fin[2] || dead[2]) -> break
  od;
  assert(counter == head && head == handed[1] + handed[2] + handed[3] && tail == head);
  goto over;
died:
  skip;
  d_step { w = 0; t = 0; c = 0; h = 0; n = 0; ok = 0; order = 0 }  /* delivery starts over at the head */
  goto again;
over:
  skip
}
init {
  byte i;
  atomic {
    COMMON_PARAMETERS
    c_code { N = param("N", 2); BATCH = param("BATCH", 2); WHO = param("WHO", 7); TWO = param("TWO", 1); }
    do :: i < N -> cell[i] = EMPTYC(i); i++ :: else -> break od;
    i = 0;
    if :: WHO & 1 -> run Appender(0) :: else -> dead[0] = 1 fi;
    run Appender(1);
    if :: WHO & 4 -> run Appender(2) :: else -> dead[2] = 1 fi;
    run Supervisor()
  }
}
