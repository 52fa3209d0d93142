/* Blocks and pages (slab/slab.cpp: try_claim, drain_page, take_free_page, slab_repair_after; reclaim.cpp: reclaim_page).

   Modelled: one page of two blocks, which is a free slab of class 1 at first; an allocator of class 1 (A1-A3)
   that uses its block, retires it and frees it if nobody did, OPS times; a drainer that gives the page back when it is empty (D1-D4)
   and a carver that takes it for class 2, one block of twice the size, and claims it: what was
   the second hdr is then bytes of a value, which may be anything; a reclaimer that reads the page and its blocks, holds the
   page [SL-6], and frees what is retired (Q1-Q4). Each may be killed; the supervisor repairs.
   Abstracted: bitmaps are only hints, so they are left out; hazards of readers (one_key.pml); A1's store and D2's
   fence as they are under sequential consistency (litmus_test.cpp and genmc/ have the orders).
   Checked: a block is claimed once, and in a page of the class that was asked for; it stays so while it is used
   [SL-1, SL-2]; the reclaimer's CAS meets a block of the class that it read [SL-6]; a page that is given back has no
   block in use; after repair nothing is PRIV without a living owner, and the page is no DRAIN or INIT [SL-5]. */
#include "model.h"
#define SUP 4
#define KILLABLE(p) ((p) < 4)
#define BUG_NONW 1       /* the drainer does not look at nw */
#define BUG_NOD3 2       /* the drainer does not claim the blocks */
#define BUG_NOHOLD 3     /* the drainer does not look who holds the page */
#define BUG_LATENAME 4   /* A1 behind A2 */
#define BUG_NOUNDO 5     /* repair leaves the blocks that the drainer claimed */
#define BUG_ANYHDR 6     /* Q4 compares the state only, not the word */
hidden byte WHO, OPS;
#define FREEPAGE 0
#define SLAB 1
#define INIT 2
#define DRAIN 6
#define FREE 0
#define PRIV 1
#define RETIRED 3
#define ABORTED 4
/* hdr: uid * 8 + state. page: kind * 8 + class, and who for INIT and DRAIN. */
byte kind = SLAB, class = 1, who, hdr[2], uids = 2;
byte stale;  /* ghost: a word that was an hdr, which a value's bytes may happen to be */
byte nw[4], nwuid[4], hold[4], using[2];   /* nw: block + 1; using: ghost, class a block is used for */
bool dead[4], recovered[4], fin[4];
#define STATE(w) ((w) & 7)
#define UID(w) ((w) >> 3)
#define HDR(u, s) ((u) * 8 + (s))
inline claim(p, b, k) {
  ok = 1;
  if :: bug != BUG_LATENAME -> atomic { STEP(p) nwuid[p] = u; nw[p] = b + 1 } :: else fi;   /* A1 */
  atomic { STEP(p) ok = (kind == SLAB && class == k) }                                     /* A2 */
  if :: bug == BUG_LATENAME -> atomic { STEP(p) nwuid[p] = u; nw[p] = b + 1 } :: else fi;
  if
  :: ok ->
     atomic { STEP(p) w = hdr[b]; ok = (STATE(w) == FREE) }
     if
     :: ok ->
        atomic { STEP(p)  /* A3 */
          if
          :: hdr[b] == w ->
             assert(kind != FREEPAGE && kind != INIT && class == k && using[b] == 0);
             hdr[b] = HDR(u, PRIV); using[b] = k
          :: else -> ok = 0
          fi
        }
     :: else
     fi
  :: else
  fi;
  w = 0
}
/* Uses the block for class k, then retires or aborts it. */
inline use(p, b, k) {
  assert(class == k && kind != FREEPAGE && STATE(hdr[b]) == PRIV && UID(hdr[b]) == u);
  atomic { STEP(p) assert(class == k && using[b] == k && UID(hdr[b]) == u); using[b] = 0; hdr[b] = HDR(u, RETIRED); stale = hdr[b] }
}
proctype Allocator(byte p) {
  byte n, b, u, w; bool ok;
  do
  :: n < OPS ->
     atomic { u = uids; uids++; if :: b = 0 :: b = 1 fi }
     claim(p, b, 1);
     if :: ok -> use(p, b, 1) :: else fi;
     atomic { STEP(p) nw[p] = 0; nwuid[p] = 0 }
     if :: ok -> atomic { STEP(p) if :: hdr[b] == HDR(u, RETIRED) -> hdr[b] = HDR(u, FREE) :: else fi } :: else fi;
     atomic { n++; b = 0; u = 0; ok = 0 }
  :: else -> break
  od;
  fin[p] = 1;
died:
  skip
}
proctype Drainer(byte p) {
  byte b, u, w, c, taken; bool ok;
  atomic { STEP(p) ok = (kind == SLAB && class == 1); c = class }
  if :: !ok -> goto over :: else fi;
  atomic { STEP(p) ok = (STATE(hdr[0]) == FREE && STATE(hdr[1]) == FREE) }
  if :: !ok -> goto over :: else fi;
  atomic { STEP(p) if :: kind == SLAB && class == c -> kind = DRAIN; who = p :: else -> ok = 0 fi }  /* D1 */
  if :: !ok -> goto over :: else fi;
  b = 0;
  do  /* D2 */
  :: b < 4 ->
     if
     :: b != p -> atomic { STEP(p) ok = ok && (nw[b] == 0 || bug == BUG_NONW) } atomic { STEP(p) ok = ok && (hold[b] == 0 || bug == BUG_NOHOLD) }
     :: else
     fi;
     b++
  :: else -> break
  od;
  b = 0;
  atomic { u = uids; uids++ }
  do  /* D3 */
  :: ok && taken < 2 && bug != BUG_NOD3 ->
     atomic { STEP(p) w = hdr[taken]; ok = (STATE(w) == FREE) }
     if
     :: ok -> atomic { STEP(p) if :: hdr[taken] == w -> hdr[taken] = HDR(u, PRIV); taken++ :: else -> ok = 0 fi; w = 0 }
     :: else
     fi
  :: else -> break
  od;
  if
  :: ok -> atomic { STEP(p) assert(using[0] == 0 && using[1] == 0);
       assert((STATE(hdr[0]) == FREE || UID(hdr[0]) == u) && (STATE(hdr[1]) == FREE || UID(hdr[1]) == u));
       kind = FREEPAGE; class = 0; who = 9 }  /* D4 */
  :: else ->
     b = 0;
     do
     :: b < taken -> atomic { STEP(p) hdr[b] = HDR(u, FREE) }; b++
     :: else -> break
     od;
     atomic { STEP(p) kind = SLAB; who = 9 }
  fi;
over:
  fin[p] = 1;
died:
  skip
}
proctype Carver(byte p) {
  byte b, u, w; bool ok;
  atomic { STEP(p) if :: kind == FREEPAGE -> kind = INIT; class = 2; who = p; ok = 1 :: else fi }  /* P1 */
  if
  :: ok ->
     atomic { STEP(p) hdr[0] = HDR(0, FREE) }  /* P2 */
     atomic { STEP(p) kind = SLAB; who = 9 }   /* P3 */
     atomic { u = uids; uids++ }
     claim(p, 0, 2);
     if :: ok -> atomic { STEP(p) hdr[1] = stale } use(p, 0, 2) :: else fi;
     atomic { STEP(p) nw[p] = 0; nwuid[p] = 0 }
  :: else
  fi;
  fin[p] = 1;
died:
  skip
}
proctype Reclaimer(byte p) {
  byte b, w, c; bool ok;
  atomic { STEP(p) hold[p] = 1 }
  atomic { STEP(p) ok = (kind == SLAB); c = class }
  b = 0;
  do
  :: ok && b < 3 - c ->
     atomic { STEP(p) w = hdr[b] }
     if
     :: STATE(w) == RETIRED || STATE(w) == ABORTED ->
        atomic { STEP(p) if :: nw[0] != b + 1 && nw[2] != b + 1 -> skip :: else -> w = 0 fi }  /* Q3 */
        if
        :: w != 0 ->
           atomic { STEP(p)  /* Q4 */
             if
             :: hdr[b] == w || (bug == BUG_ANYHDR && STATE(hdr[b]) == STATE(w)) ->
                assert(kind != FREEPAGE && kind != INIT && class == c && hdr[b] == w);
                hdr[b] = HDR(UID(w), FREE)
             :: else
             fi
           }
        :: else
        fi
     :: else
     fi;
     w = 0; b++
  :: else -> break
  od;
  atomic { STEP(p) hold[p] = 0 }
  atomic { fin[p] = 1; b = 0; c = 0; ok = 0 }
died:
  skip
}
#define OVER(p) (fin[p] || recovered[p])
proctype Supervisor() {
  byte q, b, w;
again:
  do
  :: atomic { dead[0] && !recovered[0] -> q = 0 } goto recover
  :: atomic { dead[1] && !recovered[1] -> q = 1 } goto recover
  :: atomic { dead[2] && !recovered[2] -> q = 2 } goto recover
  :: atomic { dead[3] && !recovered[3] -> q = 3 }
recover:
     if
     :: nw[q] != 0 ->
        b = nw[q] - 1;
        atomic { STEP(SUP) w = hdr[b] }
        if
        :: UID(w) == nwuid[q] && nwuid[q] != 0 && STATE(w) == PRIV ->
           atomic { STEP(SUP) if :: hdr[b] == w -> hdr[b] = HDR(UID(w), ABORTED); using[b] = 0 :: else fi }
        :: else
        fi
     :: else
     fi;
     w = 0; b = 0;
     if
     :: kind == INIT && who == q -> atomic { STEP(SUP) kind = FREEPAGE; class = 0; who = 9 }
     :: kind == DRAIN && who == q ->
        do
        :: b < 2 && bug != BUG_NOUNDO ->
           /* a uid names its client: the drainer's own claims are those that nobody uses */
           atomic { STEP(SUP) if :: STATE(hdr[b]) == PRIV && using[b] == 0 -> hdr[b] = HDR(UID(hdr[b]), FREE) :: else fi }
           b++
        :: else -> break
        od;
        atomic { STEP(SUP) kind = SLAB; who = 9 }
     :: else
     fi;
     atomic { STEP(SUP) nw[q] = 0; nwuid[q] = 0; hold[q] = 0; recovered[q] = 1; q = 0; b = 0 }
  :: atomic { OVER(0) && OVER(1) && OVER(2) && OVER(3) -> break }
  od;
  assert(kind == SLAB || kind == FREEPAGE);
  assert(kind == FREEPAGE || (STATE(hdr[0]) != PRIV && (class == 2 || STATE(hdr[1]) != PRIV)));
  goto over;
died:
  skip;
  d_step { q = 0; b = 0; w = 0 }
  goto again;
over:
  skip
}
init {
  atomic {
    COMMON_PARAMETERS
    c_code { WHO = param("WHO", 15); OPS = param("OPS", 1); }
    who = 9;
    if :: WHO & 1 -> run Allocator(0) :: else -> fin[0] = 1 fi;
    if :: WHO & 2 -> run Drainer(1) :: else -> fin[1] = 1 fi;
    if :: WHO & 4 -> run Carver(2) :: else -> fin[2] = 1 fi;
    if :: WHO & 8 -> run Reclaimer(3) :: else -> fin[3] = 1 fi;
    run Supervisor()
  }
}
