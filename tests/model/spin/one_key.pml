/* One key: install -> settle -> append -> retire, and recovery (keyspace/set.cpp, settle.cpp, recovery.cpp).

   Modelled: one slot, NREC blocks that are reused, two writers (M0, M1: 0 set or delete, 1 set, 2 delete; OPS0, OPS1
   operations), a registrar, the supervisor as recoverer, consumer and reclaimer. The record's debt is decided in two
   CAS: event word, then state. PRE: the slot holds a record at first.
   Checked: nothing is touched after it was freed; nothing leaks; exactly one event for each effect under a registered
   trigger; events in the order of effects; no mark is left.
   A(p): one shared access; the process may be killed just before it (writers) or restart (supervisor). */
#define SUP 2
#define KILLABLE(p) ((p) < 2)
#include "model.h"
#define BUG_NOHELP 1        /* a record is replaced without paying its debt */
#define BUG_NOHAZ 2         /* the reclaimer ignores hazards */
#define BUG_ONE_STATE 3     /* ABORTED is RETIRED */
#define BUG_SETTLE_STORE 4  /* the state is decided by a plain store */
hidden byte M0, M1, OPS0, OPS1, PRE;
#ifndef NREC
#define NREC 3
#endif
#ifndef RING
#define RING 8
#endif
#define MAXEV 6
#define NONE 15
#define FREE 0
#define PRIV 1
#define CLEAN 2
#define EVPEND 3
#define EVDONE 4
#define RETIRED 5
#define ABORTED 6
#define W_UNSET 0
#define W_NOEV 1
#define W_PEND 2
#define PROP(t) (16+(t))
#define CONF(t) (64+(t))
#define ISPROP(w) ((w)>=16 && (w)<64)
#define ISCONF(w) ((w)>=64)
#define ISLIVE(w) ((w)<16)
#define ISMARK(w) ((w)>=16 && (w)<32)
#define ISEMPTY(w) ((w)>=32)
#define EMPTYC(t) (128+(t))
#define D SUP
byte slot = 32; byte uniq = 1;
byte st[NREC]; byte ev[NREC]; byte rm[NREC]; byte prev[NREC]; byte owner[NREC];
byte cell[RING]; byte head = 0, tail = 0;
bool trig = 0;
byte nw[2]; byte old[2]; byte hz[2]; byte act[2]; bool val[2];
bool dead[2]; bool recovered[2]; bool fin[2];
byte glin[MAXEV]; byte linst[MAXEV]; bool lmust[MAXEV]; byte nlin = 0;
byte gev[MAXEV]; byte einst[MAXEV]; byte nev = 0;
byte seqno[NREC]; byte nextinst = 1;
#define ACC(r) assert(st[r] != FREE)
#define A(p) STEP(p)
inline lin(r,k) { assert(nlin<MAXEV); glin[nlin]=k; linst[nlin]=seqno[r]; lmust[nlin]=trig; nlin++ }
inline settle(p,r) {
  atomic { A(p) s = st[r]; assert(s!=FREE) }
  if
  :: s==PRIV ->
     atomic { A(p) tv = trig }
     /* the decision is the CAS of the event word (it carries the table's generation); the state follows */
     if :: tv -> atomic { A(p) ACC(r); if :: ev[r]==W_UNSET -> ev[r]=W_PEND :: else -> skip fi } :: else -> skip fi;
     atomic { A(p)
       if :: st[r]==PRIV || bug==BUG_SETTLE_STORE -> if :: tv -> st[r]=EVPEND :: else -> st[r]=CLEAN fi :: else -> skip fi;
       s=st[r]; assert(s!=FREE); tv=0 }
  :: else -> skip
  fi
}
inline findpos(p) {
  do
  :: atomic { A(p) t = tail }
     atomic { A(p) h = head; assert(t-h < RING) }
     atomic { A(p) c = cell[t%RING];
     if :: c==EMPTYC(t) -> c=0; h=0; break
        :: c<128 -> c=1
        :: c>=128 && c!=EMPTYC(t) -> c=0
     fi }
     if :: c==1 -> atomic { A(p) if :: tail==t -> tail=t+1 :: else fi } :: else fi
  od; skip
}
inline casw(r,k,from,to) { ACC(r); if :: k==0 && ev[r]==from -> ev[r]=to :: k==1 && rm[r]==from -> rm[r]=to :: else fi }
inline append(p,r,k) {
  do
  :: atomic { A(p) ACC(r); w = (k==0 -> ev[r] : rm[r]); if :: ISCONF(w) -> break :: else fi }
     if
     :: ISPROP(w) -> 
        atomic { A(p) t = w-16; c = cell[t%RING] }
        if
        :: c==EMPTYC(t) -> atomic { A(p) if :: cell[t%RING]==EMPTYC(t) -> cell[t%RING]=r*2+k :: else fi; c=0 }
        :: c==r*2+k -> atomic { A(p) casw(r,k,w,CONF(w-16)); c=0 } atomic { A(p) if :: tail==t -> tail=t+1 :: else fi }
        :: else ->
           findpos(p); atomic { A(p) casw(r,k,w,PROP(t)) }
        fi
     :: else -> findpos(p); atomic { A(p) casw(r,k,w,PROP(t)) }
     fi
  od; 
  skip; d_step { w=0;t=0;c=0;h=0 }
  if :: k==0 -> atomic { A(p) ACC(r); if :: st[r]==EVPEND -> st[r]=EVDONE :: else fi } :: else fi
}
inline finish_remove(p,r) {
  atomic { A(p) ACC(r); w = rm[r]; }
  if :: w==W_UNSET -> atomic { A(p) tv=trig }
        atomic { A(p) ACC(r); if :: rm[r]==W_UNSET -> if :: tv -> rm[r]=W_PEND :: else -> rm[r]=W_NOEV fi :: else fi; w=rm[r]; tv=0 }
     :: else
  fi;
  if :: w!=W_NOEV -> append(p,r,1) :: else fi;
  atomic { A(p) if :: slot==16+r -> slot=32+uniq; uniq++ :: else fi; w=0 }
  atomic { A(p) ACC(r); if :: st[r]==CLEAN || st[r]==EVDONE -> st[r]=RETIRED :: else fi }
}
inline retire_replaced(p,o,r) {
  atomic { A(p) w = ev[r]; ACC(r) }
  atomic { A(p) ACC(o); if :: st[o]!=RETIRED -> if :: ISCONF(w) -> rm[o]=w :: else -> rm[o]=W_NOEV fi :: else fi; w=0 }
  atomic { A(p) ACC(o); if :: st[o]==CLEAN || st[o]==EVDONE -> st[o]=RETIRED :: else fi }
}
inline pre_replace(p,o) {
  if
  :: bug!=BUG_NOHELP -> settle(p,o); if :: s==EVPEND -> append(p,o,0) :: else fi; s=0
  :: else
  fi
}
proctype Writer(byte p; byte nops; byte mode) {
  byte i=0, r, o, sw, s, w, t, c, h; bool tv; bool ok;
  do
  :: i<nops ->
#ifdef SLACK
     atomic { t=tail; h=head; if :: t-h >= RING-SLACK -> goto opdone :: else -> t=0; h=0 fi }
#endif
     if
     :: (mode!=2) ->
        atomic { act[p]=1; r=0;
          do :: r<NREC && st[r]!=FREE -> r++ :: else -> break od }
        if :: r>=NREC -> goto opdone :: else fi;
        atomic { A(p) nw[p]=r }
        atomic { A(p) if :: st[r]==FREE -> st[r]=PRIV; owner[r]=p; ev[r]=W_UNSET; rm[r]=W_UNSET; prev[r]=NONE; seqno[r]=nextinst; nextinst++ :: else -> goto opdone fi }
        do
        :: atomic { A(p) sw = slot }
           if
           :: ISEMPTY(sw) -> atomic { val[p]=0; old[p]=NONE; prev[r]=NONE }
              atomic { A(p) if :: slot==sw -> slot=r; lin(r,0); break :: else fi }
           :: ISMARK(sw) -> atomic { A(p) o=sw-16; hz[p]=o }
              atomic { A(p) ok = (slot==sw) }
              if :: ok -> finish_remove(p,o) :: else fi; atomic { hz[p]=NONE; ok=0 }
           :: ISLIVE(sw) -> atomic { A(p) o=sw; val[p]=0; old[p]=o }
              atomic { A(p) ok = (slot==sw); }
              if :: ok -> atomic { A(p) ok=0; val[p]=1 }
                    pre_replace(p,o);
                    atomic { A(p) prev[r]=o }
                    atomic { A(p) if :: slot==sw -> slot=r; lin(r,0); break :: else fi }
                 :: else
              fi
           fi
        od;
        settle(p,r);
        if :: s==EVPEND -> append(p,r,0) :: else fi; s=0;
        o = old[p];
        if :: o!=NONE -> retire_replaced(p,o,r) :: else fi
     :: (mode!=1) -> act[p]=2; 
        do
        :: atomic { A(p) sw = slot; if :: ISEMPTY(sw) -> break :: else fi }
           if
           :: ISMARK(sw) -> atomic { A(p) o=sw-16; val[p]=0; old[p]=o }
              atomic { A(p) ok=(slot==sw) }
              if :: ok -> atomic { A(p) val[p]=1; ok=0 } finish_remove(p,o) :: else fi; break
           :: ISLIVE(sw) -> atomic { A(p) o=sw; val[p]=0; old[p]=o }
              atomic { A(p) ok=(slot==sw) }
              if :: ok -> atomic { A(p) val[p]=1; ok=0 }
                    pre_replace(p,o);
                    atomic { A(p) if :: slot==sw -> slot=16+o; lin(o,1); ok=1 :: else fi }
                    if :: ok -> ok=0; finish_remove(p,o); break :: else fi
                 :: else
              fi
           fi
        od
     fi;
opdone: atomic { A(p) act[p]=0 } 
     atomic { A(p) val[p]=0; nw[p]=NONE; old[p]=NONE; hz[p]=NONE }
     skip; d_step { i++; r=0;o=0;sw=0;s=0;w=0;t=0;c=0;h=0;tv=0;ok=0 }
  :: else -> break
  od;
  fin[p]=1;
died: skip
}
proctype Registrar() { if :: trig=1 :: skip fi }
proctype Daemon() {
  byte q, r, o, sw, s, w, t, c, h; bool tv; byte i; bool ok;
again:
  do
  :: atomic { (dead[0] && !recovered[0]) || (dead[1] && !recovered[1]); if :: dead[0] && !recovered[0] -> q=0 :: else -> q=1 fi }
     if
     :: act[q]==1 && nw[q]!=NONE && owner[nw[q]]==q && st[nw[q]]!=FREE ->
        atomic { A(D) r = nw[q]; sw = slot }
        if
        :: sw==r ->
           settle(D,r);
           if :: s==EVPEND -> append(D,r,0) :: else fi; s=0;
           atomic { A(D) o = old[q] }
           if :: val[q] && o!=NONE -> retire_replaced(D,o,r) :: else fi
        :: else ->
           atomic { A(D) s = st[r] }
           if
           :: s==PRIV -> atomic { A(D) if :: st[r]==PRIV -> st[r]=(bug==BUG_ONE_STATE -> RETIRED : ABORTED) :: else fi }
           :: s==FREE || s==ABORTED -> skip
           :: else -> atomic { A(D) o = old[q] } if :: val[q] && o!=NONE -> retire_replaced(D,o,r) :: else fi
           fi
        fi
     :: act[q]==2 && old[q]!=NONE && val[q] ->
        atomic { A(D) o = old[q]; sw = slot }
        if
        :: sw==16+o -> finish_remove(D,o)
        :: sw==o -> skip
        :: else -> atomic { A(D) w = rm[o] }
           if :: w!=W_UNSET -> atomic { A(D) ACC(o); if :: st[o]==CLEAN || st[o]==EVDONE -> st[o]=RETIRED :: else fi } :: else fi
        fi
     :: else
     fi;
     atomic { A(D) act[q]=0; val[q]=0; nw[q]=NONE; old[q]=NONE; hz[q]=NONE; recovered[q]=1; r=0;o=0;sw=0;s=0;w=0;t=0;c=0;h=0;tv=0;ok=0;q=0;i=0 }
  :: atomic { cell[head%RING]<128; c = cell[head%RING]; r=c/2; s=c%2; t=head }
     atomic { A(D) ACC(r); if :: s==0 && ev[r]==PROP(t) -> ev[r]=CONF(t) :: s==1 && rm[r]==PROP(t) -> rm[r]=CONF(t) :: else fi;
       assert((s==0 && ev[r]==CONF(t)) || (s==1 && rm[r]==CONF(t))) }
     atomic { A(D) if :: tail==t -> tail=t+1 :: else fi }
     /* handler runs: at-least-once is not counted here (restart before ack would redeliver); count at ack */
     atomic { A(D) if :: s==0 && prev[r]!=NONE -> ACC(prev[r]) :: else fi; gev[nev]=s; einst[nev]=seqno[r]; nev++; cell[t%RING]=EMPTYC(t+RING) }
     atomic { head=t+1; r=0;s=0;c=0;t=0 }
  :: atomic { r=0;
     do :: r<NREC && st[r]<RETIRED -> r++ :: else -> break od;
     if :: r<NREC && !((ISCONF(ev[r]) && ev[r]-64>=head) || (ISCONF(rm[r]) && rm[r]-64>=head)) -> skip :: else -> r=NREC fi }
     if :: r<NREC ->
        ok=1;
        atomic { if :: bug==BUG_NOHAZ -> skip :: bug!=BUG_NOHAZ && (nw[0]==r || old[0]==r || hz[0]==r) -> ok=0 :: else fi }
        atomic { if :: bug==BUG_NOHAZ -> skip :: bug!=BUG_NOHAZ && (nw[1]==r || old[1]==r || hz[1]==r) -> ok=0 :: else fi }
        atomic { if :: ok -> assert(slot!=r && slot!=16+r); st[r]=FREE; owner[r]=8; ev[r]=W_UNSET; rm[r]=W_UNSET; seqno[r]=0; prev[r]=NONE :: else fi }
       :: else
     fi; skip; d_step { r=0; i=0; ok=0 }
  :: atomic { ((fin[0]||recovered[0]) && (fin[1]||recovered[1]) && cell[head%RING]>=128) -> break }
  od; goto final;
died: skip; d_step { r=0;o=0;sw=0;s=0;w=0;t=0;c=0;h=0;tv=0;ok=0;q=0;i=0; 
     /* restart of the daemon: head may lag a cell already emptied */
     do :: cell[head%RING]==EMPTYC(head+RING) -> head++ :: else -> break od }
  goto again;
final: skip;
  byte a=0,b=0;
  d_step {
  a=0; b=0;
  do
  :: a<nlin ->
     if
     :: b<nev && einst[b]==linst[a] && gev[b]==glin[a] -> b++; a++
     :: else -> assert(!lmust[a]); a++
     fi
  :: else -> break
  od;
  assert(b==nev);
  r=0;
  do :: r<NREC -> assert(st[r]==FREE || st[r]>=RETIRED || slot==r); r++ :: else -> break od;
  assert(!ISMARK(slot));
  if :: ISLIVE(slot) -> assert(st[slot]==CLEAN || st[slot]==EVDONE) :: else fi;
  }
}
init {
  byte i=0;
  atomic {
  COMMON_PARAMETERS
  c_code { M0 = param("M0", 1); M1 = param("M1", 1); OPS0 = param("OPS0", 1); OPS1 = param("OPS1", 1); PRE = param("PRE", 0); }
  do :: i<RING -> cell[i]=EMPTYC(i); i++ :: else -> break od;
  i=0; do :: i<2 -> nw[i]=NONE; old[i]=NONE; hz[i]=NONE; i++ :: else -> break od;
  i=0; do :: i<NREC -> prev[i]=NONE; owner[i]=8; i++ :: else -> break od; i=0;
  if :: PRE -> st[0]=CLEAN; slot=0; seqno[0]=9; owner[0]=7 :: else fi;
  }
  atomic { run Writer(0,OPS0,M0); run Writer(1,OPS1,M1); run Registrar(); run Daemon() }
}
