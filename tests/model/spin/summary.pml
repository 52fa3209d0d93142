/* The deadline summary (expiry/expiry.hpp, expiry_inl.hpp; recovery.cpp).

   Modelled: a root, two nodes, three buckets (0 and 1 below node 0, 2 below node 1), a record with a deadline in each
   bucket or none; two writers that publish a deadline (W1-W3), two sweepers (S0-S3) with a budget of visits, as the
   supervisor and a client that sweeps for room are; recovery of each of them. Writer 0 works in bucket 0, writer 1 in
   bucket 1 (NEAR) or 2. At first bucket 0 holds a due record and bucket 2 a later one.
   Abstracted: a lowering is one atomic minimum (a CAS loop that only lowers); visiting a bucket is one step.
   Checked: when nobody is at work, no node and no bucket is above the deadline of a linked record below it [EX-1];
   a record goes only when it is due [EX-2]. Stopping is a process that takes no step until the others are done. */
#include "model.h"
#define SUP 4
#define KILLABLE(p) ((p) < 4)
#define BUG_NOW3       1 /* the writer does not lower again */
#define BUG_NOUP       2 /* no look upwards */
#define BUG_STORE      3 /* the sweeper looks first and stores what it saw */
#define BUG_NOTEND     4 /* recovery does not tend the bucket */
#define BUG_NOREBUILD  5 /* recovery of a sweeper looks at its bucket only */
#define BUG_BUDGET     6 /* a child that was not visited for lack of budget counts as empty */
#define BUG_LOOKNEAR   7 /* a bucket that is low enough is looked at alone */
hidden byte WHO, NEAR, VISITS, D0, D1;
#define NEVER 9
#define NOW 1
byte root, nd[2], bk[3], rec[3];  /* rec 0: none */
byte intent[4];
bool sweeps[4], dead[4], recovered[4], fin[4];
#define LOWER(w, d) if :: w > d -> w = d :: else fi
#define DUE(d) ((d) != 0 && (d) <= NOW)
#define LEFT(b) (rec[b] == 0 -> NEVER : rec[b])
/* `low` is its caller's. */
inline lower(p, b, d) {
  atomic { STEP(p) low = (bk[b] <= d) }
  if :: low && bug != BUG_LOOKNEAR -> atomic { STEP(p) low = (nd[b / 2] <= d) } :: else fi;
  if :: low && bug != BUG_LOOKNEAR -> atomic { STEP(p) low = (root <= d) } :: else fi;
  if
  :: low -> low = 0
  :: else ->
     atomic { STEP(p) LOWER(root, d) }
     atomic { STEP(p) LOWER(nd[b / 2], d) }
     atomic { STEP(p) LOWER(bk[b], d) }
     if
     :: bug != BUG_NOUP ->
        atomic { STEP(p) LOWER(nd[b / 2], d) }
        atomic { STEP(p) LOWER(root, d) }
     :: else
     fi
  fi
}
proctype Writer(byte p; byte b; byte d) {
  bool low;
  intent[p] = b;
  lower(p, b, d);                                    /* W1 */
  atomic { STEP(p) rec[b] = d }                      /* W2 */
  if :: bug != BUG_NOW3 -> lower(p, b, d) :: else fi;  /* W3 */
  fin[p] = 1;
died:
  skip
}
/* The loops of node() and bucket(), written out: m is the minimum of a node's children, r of the root's. */
proctype Sweeper(byte p; byte left) {
  byte n, b, seen, m, r;
  sweeps[p] = 1;
  atomic { STEP(p) seen = root }
  if :: seen > NOW || left == 0 -> goto done :: else fi;
  if :: bug != BUG_STORE -> atomic { STEP(p) root = NEVER } :: else fi;  /* S1 */
  r = NEVER;
  do
  :: n < 2 ->
     atomic { STEP(p) seen = nd[n] }
     if
     :: seen > NOW -> m = seen
     :: seen <= NOW && left == 0 -> m = (bug == BUG_BUDGET -> NEVER : seen)
     :: else ->
        if :: bug != BUG_STORE -> atomic { STEP(p) nd[n] = NEVER } :: else fi;  /* S1 */
        m = NEVER;
        b = n * 2;
        do
        :: b < 3 && b / 2 == n ->
           atomic { STEP(p) seen = bk[b] }
           if
           :: seen > NOW -> LOWER(m, seen)
           :: seen <= NOW && left == 0 -> if :: bug != BUG_BUDGET -> LOWER(m, seen) :: else fi
           :: else ->
              left--;
              atomic { STEP(p) intent[p] = b }                            /* S0 */
              if :: bug != BUG_STORE -> atomic { STEP(p) bk[b] = NEVER } :: else fi;  /* S1 */
              atomic { STEP(p) if :: DUE(rec[b]) -> rec[b] = 0 :: else fi; seen = LEFT(b) }  /* S2 */
              if
              :: bug == BUG_STORE -> atomic { STEP(p) bk[b] = seen }
              :: else -> atomic { STEP(p) LOWER(bk[b], seen) }            /* S3 */
              fi;
              atomic { STEP(p) LOWER(seen, bk[b]) }
              LOWER(m, seen)
           fi;
           b++
        :: else -> break
        od;
        if :: bug == BUG_STORE -> atomic { STEP(p) nd[n] = m } :: else -> atomic { STEP(p) LOWER(nd[n], m) } fi  /* S3 */
     fi;
     LOWER(r, m);
     d_step { n++; b = 0; m = 0; seen = 0 }
  :: else -> break
  od;
  if :: bug == BUG_STORE -> atomic { STEP(p) root = r } :: else -> atomic { STEP(p) LOWER(root, r) } fi;  /* S3 */
done:
  atomic { fin[p] = 1; n = 0; r = 0; seen = 0; left = 0 }
died:
  skip
}
#define OVER(p) (fin[p] || recovered[p])
proctype Supervisor() {
  byte q, b, d;
  bool low;
again:
  do
  :: atomic { dead[0] && !recovered[0] -> q = 0 } goto recover
  :: atomic { dead[1] && !recovered[1] -> q = 1 } goto recover
  :: atomic { dead[2] && !recovered[2] -> q = 2 } goto recover
  :: atomic { dead[3] && !recovered[3] -> q = 3 }
recover:
     b = intent[q];
     if
     :: bug != BUG_NOTEND ->
        atomic { STEP(SUP) if :: DUE(rec[b]) -> rec[b] = 0 :: else fi; d = LEFT(b) }
        if :: d != NEVER -> lower(SUP, b, d) :: else fi
     :: else
     fi;
     if
     :: sweeps[q] && bug != BUG_NOREBUILD ->
        b = 0;
        do
        :: b < 3 -> atomic { STEP(SUP) d = bk[b] }; if :: d != NEVER -> lower(SUP, b, d) :: else fi; b++
        :: else -> break
        od
     :: else
     fi;
     atomic { STEP(SUP) recovered[q] = 1; q = 0; b = 0; d = 0 }
  :: atomic { OVER(0) && OVER(1) && OVER(2) && OVER(3) -> break }
  od;
  b = 0;
  do
  :: b < 3 -> assert(rec[b] == 0 || (bk[b] <= rec[b] && nd[b / 2] <= rec[b] && root <= rec[b])); b++
  :: else -> break
  od;
  goto over;
died:
  skip;
  d_step { q = 0; b = 0; d = 0 }
  goto again;
over:
  skip
}
init {
  atomic {
    COMMON_PARAMETERS
    c_code {
      WHO = param("WHO", 7); NEAR = param("NEAR", 1); VISITS = param("VISITS", 1);
      D0 = param("D0", 1); D1 = param("D1", 2);
    }
    root = 1; nd[0] = 1; nd[1] = 2; bk[0] = 1; bk[1] = NEVER; bk[2] = 2; rec[0] = 1; rec[2] = 2;
    if :: WHO & 1 -> run Writer(0, 0, D0) :: else -> fin[0] = 1 fi;
    if :: (WHO & 2) && NEAR -> run Writer(1, 1, D1) :: (WHO & 2) && !NEAR -> run Writer(1, 2, D1) :: else -> fin[1] = 1 fi;
    if :: WHO & 4 -> run Sweeper(2, VISITS) :: else -> fin[2] = 1 fi;
    if :: WHO & 8 -> run Sweeper(3, 2) :: else -> fin[3] = 1 fi;
    run Supervisor()
  }
}
