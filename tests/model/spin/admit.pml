/* Admission and its slack (ring/ring.cpp: admission_limit, ring_admits; api/maintain.cpp: publish_triggers).

   Modelled: T = 2 clients, a ring of N cells as three numbers: head, tail, and how many cells are filled (the tail may
   lag behind the last). Each client does OPS operations; one may owe two events: its own (admitted below the limit of
   clients, or late: nobody wanted it at admission, a trigger was registered before it settled) and that of a record
   which it evicts or finishes on the way (admitted below the limit of sweeps, or late). Anybody pays any debt that he
   finds, also that of a client that is stopped for ever. A registrar registers and unregisters REGS times, and
   registers only when clients are admitted; a consumer releases (RELEASES
   cells, and the rest at the end). FILL cells are filled at first: sweeps may have filled N - (2T + 1).
   WANTED: a trigger is registered at first.
   Checked: an append finds room [RG-6] - with TIGHT=1, which leaves the slack out: a debt that finds none stays in the
   slot, and is paid once there is room; no event is lost and none is made twice. */
#include "model.h"
#define SUP 9
#define KILLABLE(p) (0)
#define BUG_NOSLACK 1   /* nothing is left for outstanding events */
#define BUG_NOSWEEP 2   /* what sweeps do is not admitted */
#define BUG_DROP 3      /* a debt that finds no room is forgotten */
hidden byte N, OPS, REGS, RELEASES, TIGHT, CLIENTS, SWEEPS;  /* CLIENTS, SWEEPS: admission_limit() */
#define T 2
byte head, tail, filled, open;  /* open: ghost, events that are owed and not made */
bool wanted;
bool dead[2];
bool debt[4];  /* of client p: p its own, 2+p on the way; unpaid, may be paid by anybody */
bool fin[2];
inline admits(limit) { atomic { h = head } atomic { ok = (tail - h < limit) } }
/* Pays debt d: the cell, then the tail behind it. Whoever finds the last cell filled moves the tail first. */
inline pay(d) {
  do
  :: atomic {
       if
       :: !debt[d] -> ok = 1; break
       :: debt[d] && tail < filled -> tail++
       :: debt[d] && tail == filled && filled - head < N -> filled++; open--; debt[d] = 0; ok = 1; break
       :: else -> assert(TIGHT); ok = 0; break
       fi
     }
  od;
  if
  :: ok -> atomic { if :: tail < filled -> tail++ :: else fi }
  :: !ok && bug == BUG_DROP -> debt[d] = 0
  :: else
  fi
}
/* One event: admission under the table of now, later the debt under the table of then. */
inline event(d, limit) {
  atomic { late = !wanted }
  if :: !late -> admits(limit) :: else -> ok = 1 fi;
  if
  :: ok ->
     atomic { if :: (wanted || !late) && !debt[d] -> debt[d] = 1; open++ :: else fi }
  :: else
  fi
}
proctype Client(byte p) {
  byte n, h; bool ok, late, mine, admitted;
  do
  :: n < OPS ->
     if :: debt[p] -> pay(p); if :: !ok -> goto next :: else fi :: else fi;  /* nobody replaces a record with a debt */
     atomic { late = !wanted }
     if :: !late -> admits(CLIENTS) :: else -> ok = 1 fi;
     mine = ok; admitted = !late;
     if  /* an eviction or a mark on the way */
     :: true
     :: true -> if :: bug == BUG_NOSWEEP -> event(2 + p, N) :: else -> event(2 + p, SWEEPS) fi; pay(2 + p)
     fi;
     if
     :: mine ->
        atomic { if :: wanted || admitted -> debt[p] = 1; open++ :: else fi }  /* X1 and settle */
        if :: true -> pay(p) :: true -> pay(1 - p); pay(p) fi
     :: else
     fi;
next:
     atomic { n++; ok = 0; late = 0; mine = 0; admitted = 0; h = 0 }
  :: else -> break
  od;
  fin[p] = 1
}
proctype Registrar() {
  byte n, h; bool ok;
  do
  :: n < REGS ->
     admits(CLIENTS);
     atomic { if :: ok -> wanted = 1 :: else fi; ok = 0; h = 0 }
     atomic { wanted = 0; n++ }
  :: else -> break
  od;
  admits(CLIENTS);
  atomic { if :: ok -> wanted = 1 :: else fi; ok = 0; h = 0; n = 0 }
}
proctype Consumer() {
  byte d; bool ok;
end:
  do
  :: atomic { head < filled && (d < RELEASES || (fin[0] && fin[1])) -> d++; if :: tail == head -> tail++ :: else fi; head++ }
  :: atomic { fin[0] && fin[1] && head == filled -> break }
  od;
  d = 0;
  do
  :: d < 4 -> atomic { head = filled; tail = filled } pay(d); assert(ok); d++
  :: else -> break
  od;
  assert(open == 0)
}
init {
  atomic {
    COMMON_PARAMETERS
    c_code { N = param("N", 8); OPS = param("OPS", 2); REGS = param("REGS", 1); RELEASES = param("RELEASES", 1); TIGHT = param("TIGHT", 0);
      SWEEPS = TIGHT || bug == 1 ? N : N - (2 * 2 + 1); CLIENTS = TIGHT || bug == 1 ? N : N - (3 * 2 + 1); }
    head = 0; c_code { now.filled = now.tail = param("FILL", 3); now.wanted = param("WANTED", 0); }
    run Client(0); run Client(1); run Registrar(); run Consumer()
  }
}
