/*
 * Hand-overs between mining and AI (agent/control/transfer*.ts) in a small world: two limits (grid, feeder), two
 * donors (one below each), one AI node below the feeder, two hand-overs of one unit each in either direction,
 * crashes anywhere, limits that fall and rise, meters and nodes that go silent, donors and a node that do not
 * follow. What is left out, and which line of the code each move stands for: README.md beside this file.
 */

/* In traces (-DTRACE) what is rare in life is rare, so that hand-overs get somewhere; a search tries everything. */
#ifdef TRACE
#define PICK(x) if :: x = true :: x = true :: x = true :: x = true :: x = true :: x = true :: x = true :: x = false fi
#define RARELY(n) && luck == n
#define DRAW_LUCK if :: luck = 0 :: luck = 1 :: luck = 2 :: luck = 3 :: luck = 4 :: luck = 5 :: luck = 6 :: luck = 7 :: luck = 8 :: luck = 9 :: luck = 10 fi
hidden byte luck;
#else
#define PICK(x) if :: x = true :: x = false fi
#define RARELY(n)
#define DRAW_LUCK skip
#endif

/* Phases between two inputs; admitted, reserved (to AI), freed and granted are passed within one cycle. */
mtype = { none, requested, reserved, shedding, verifying, freed, ramping, in_use, draining, releasing,
  released, aborted, breached };

#define GRID 0
#define FEEDER 1
#define RATING(l) (l == GRID -> 5 : 4)
#define CAP(l) (low[l] -> 3 : RATING(l))
#define FLOW(l) (l == GRID -> d0 + d1 + w : d1 + w)
#define FIRM 1
#define LEAST 1
#define MOST 4
#define ENDED(i) (ph[i] == released || ph[i] == aborted)
#define LIVE(i) (ph[i] != none && !ENDED(i))
#define OPENING(i) (!mine[i] && (ph[i] == requested || ph[i] == reserved || ph[i] == shedding || ph[i] == verifying || ph[i] == freed))
#define BY_AI(i) ((mine[i] && (ph[i] == reserved || ph[i] == shedding || ph[i] == verifying || ph[i] == breached)) || \
  (!mine[i] && (ph[i] == freed || ph[i] == ramping || ph[i] == in_use || ph[i] == draining || ph[i] == releasing || ph[i] == breached)))
#define HELD_SHARES ((BY_AI(0) -> share[0] : 0) + (BY_AI(1) -> share[1] : 0))
#define ADDS(i) ((share[i] == 0 || cut[i]) -> 0 : (mine[i] -> \
  ((ph[i] == reserved || ph[i] == shedding) -> share[i] : 0) : \
  ((ph[i] == ramping || ph[i] == in_use || ph[i] == draining || ph[i] == breached) -> (ramped[i] -> share[i] : 0) : 0)))
#define CEILING (base + ADDS(0) + ADDS(1))
#define OVER (w > (CEILING > LEAST -> CEILING : LEAST))
#define POSITIVE(x) ((x) > 0 -> (x) : 0)

/* What is written down: the state of the hand-overs. */
mtype ph[2];
bool mine[2];     /* ai-to-mining */
byte share[2];
byte lent[2];
byte held[2];     /* the same at both limits */
bool ramped[2];   /* the ramp is over */
bool cut[2];
byte proofs[2];
bool over[2];
byte base = 2;
byte ws;          /* worst case of the node at the last cycle; 0 after a restart */

/* The world. */
byte d0 = 1, d1 = 2, w = 2;
bool low[2];
bool dropped;     /* a limit fell: from then on a rise within a grant looks at the room first */
bool due;         /* the time that was asked for is over */
bool down;        /* written, and the process died before it acted */
/* Permits that were acted on last. */
byte pres, pgrant, pceil = 2;

/* Of one cycle. */
hidden byte has[2];
hidden byte debt[2];
hidden short room[2];
hidden byte own_ai;
hidden byte fresh[2], node, obey, lng, late, proved, told[2], entered[2], was_over[2];
hidden short tmp, used, now_;
hidden byte turn;
hidden mtype before;

#ifdef LIVENESS
/* Limits stay, donors follow as they like: what ends a hand-over is time, not watts. */
#define MAY_FALL false
bool was_long;    /* the last move was a cycle in which every time had run out */
byte crashes;     /* it does not crash for ever */
#define MOVED was_long = false
#define CYCLED was_long = lng
#define MAY_CRASH (crashes < 1)
#define CRASHED crashes++
#else
#define MAY_FALL true
#define MOVED skip
#define CYCLED skip
#define MAY_CRASH true
#define CRASHED skip
#endif

inline settle() {
  tmp = w - HELD_SHARES;
  own_ai = (base > tmp -> base : tmp);
  settle_one(GRID); settle_one(FEEDER)
}
inline settle_one(l) {
  tmp = own_ai + held[0] + held[1];
  has[l] = POSITIVE(CAP(l) - tmp);
  debt[l] = POSITIVE(tmp - CAP(l))
}
inline book(l) { assert(CAP(l) + debt[l] == own_ai + held[0] + held[1] + has[l]) }

inline hold_one(l) { if :: has[l] > 0 -> has[l]-- :: else -> debt[l]++ fi }
inline hold(i) { assert(held[i] == 0); held[i] = 1; hold_one(GRID); hold_one(FEEDER) }
inline let_go_one(l) { if :: debt[l] > 0 -> debt[l]-- :: else -> has[l]++ fi }
inline let_go(i) {
  if :: held[i] > 0 -> held[i] = 0; let_go_one(GRID); let_go_one(FEEDER) :: else fi
}
inline enter(i, p) { ph[i] = p; proofs[i] = 0; entered[i] = true; late = false }

/* Verified watts back one grant only. With -DREUSE they back any number: the search must find it. */
inline claim(i) {
#ifndef REUSE
  room[GRID] = room[GRID] - held[i]; room[FEEDER] = room[FEEDER] - held[i]
#else
  skip
#endif
}

/* Two samples of both limits with room that nothing stands on, from after the donors were told. */
inline freed_is_proved(i) {
  proved = false;
  if
  :: !fresh[GRID] || !fresh[FEEDER] || told[i] -> skip
  :: else ->
    if
    :: share[i] > 0 && (!node || OVER) -> skip
    :: else ->
      if
      :: held[i] > 0 && (room[GRID] < held[i] || room[FEEDER] < held[i]) -> proofs[i] = 0
      :: else ->
        proofs[i]++;
        if
        :: proofs[i] >= 2 -> proved = true; claim(i)
        :: else
        fi
      fi
    fi
  fi
}
/* The node is at or below its ceiling, twice, by readings from after the ceiling fell. */
inline node_is_down(i) {
  proved = false;
  if
  :: share[i] > 0 && (!node || entered[i]) -> skip
  :: share[i] > 0 && node && !entered[i] && OVER -> proofs[i] = 0
  :: else -> proofs[i]++; proved = (proofs[i] >= 2)
  fi
}
inline drain_now(i) { cut[i] = true; enter(i, draining) }

inline find_breach(i) {
  /* `proved` says: breached. */
  proved = false;
  if
  :: share[i] > 0 && node && OVER ->
    if
    :: was_over[i] -> proved = true; cut[i] = true; enter(i, breached)
    :: else -> over[i] = true
    fi
  :: else -> over[i] = false
  fi
}

inline admit_grant(i) {
  tmp = CEILING + (OPENING(1 - i) && ph[1 - i] != requested -> share[1 - i] : 0);
  if
  :: !node && !late -> skip
  :: !node && late -> enter(i, aborted)
  :: node && tmp >= MOST -> enter(i, aborted)
  :: node && tmp < MOST ->
    if
    :: has[GRID] < 1 || has[FEEDER] < 1 || debt[GRID] > 0 || debt[FEEDER] > 0 -> enter(i, aborted)
    :: else -> share[i] = 1; hold(i); enter(i, shedding); told[i] = true
    fi
  fi
}
inline check_grant(i) {
  /* Every watt that AI may draw and does not is verified room, and stands behind one grant only. */
  tmp = POSITIVE(base + HELD_SHARES - ws);
  assert(fresh[GRID] && fresh[FEEDER]);
  assert(tmp <= CAP(GRID) - FLOW(GRID));
  assert(tmp <= CAP(FEEDER) - FLOW(FEEDER))
}
inline ramp(i) {
  find_breach(i);
  if
  :: proved -> skip
  :: !proved && due -> drain_now(i)
  :: else ->
    if :: node && fresh[GRID] && fresh[FEEDER] -> ramped[i] = true :: else fi;
    tmp = (CEILING < MOST -> CEILING : MOST);
    if
    :: node && fresh[GRID] && fresh[FEEDER] && w >= tmp -> enter(i, in_use)
    :: !(node && fresh[GRID] && fresh[FEEDER] && w >= tmp) && !late -> skip
    :: else ->
      /* Not taken up: what is not drawn is free again. The earlier hand-over counts as drawn first. */
      used = POSITIVE(ws - base);
      if :: i == 1 && BY_AI(0) -> used = POSITIVE(used - share[0]) :: else fi;
      if
      :: used == 0 -> share[i] = 0; let_go(i); ramped[i] = true; drain_now(i)
      :: else -> enter(i, in_use)
      fi
    fi
  fi
}
inline keep(i) {
  find_breach(i);
  if
  :: proved -> skip
  :: !proved && due -> enter(i, draining); told[i] = true
  :: !proved && !due && node && fresh[GRID] && fresh[FEEDER] -> late = false
  :: else -> if :: late -> drain_now(i) :: else fi
  fi
}
inline prove_release(i) {
  node_is_down(i);
  if
  :: proved -> let_go(i); enter(i, released)
  :: !proved && late && ph[i] == breached -> let_go(i); enter(i, released)
  :: !proved && late && ph[i] == releasing -> enter(i, breached)
  :: else
  fi
}
inline to_ai(i) {
  if
  :: ph[i] == requested -> admit_grant(i)
  :: ph[i] == shedding ->
    if
    :: late -> let_go(i); enter(i, aborted)
    :: !late && (CAP(GRID) - FLOW(GRID) + (obey -> d0 + d1 : 0) >= held[i]) &&
       (CAP(FEEDER) - FLOW(FEEDER) + (obey -> d1 : 0) >= held[i]) ->
       ph[i] = verifying; proofs[i] = 0
    :: else
    fi
  :: ph[i] == verifying ->
    freed_is_proved(i);
    if
    :: proved -> enter(i, freed)
    :: !proved && late -> let_go(i); enter(i, aborted)
    :: else
    fi
  :: ph[i] == freed -> ramped[i] = false; enter(i, ramping); check_grant(i)
  :: ph[i] == ramping -> ramp(i)
  :: ph[i] == in_use -> keep(i)
  :: ph[i] == draining ->
    /* A notice that began in this cycle is not over. */
    if :: told[i] && !cut[i] -> skip :: else -> cut[i] = true; enter(i, releasing) fi
  :: ph[i] == releasing || ph[i] == breached -> prove_release(i)
  :: else
  fi
}

inline admit_taking(i) {
  if
  :: !mine[1 - i] && !cut[1 - i] && (ph[1 - i] == ramping || ph[1 - i] == in_use) && share[1 - i] > 0 ->
    share[i] = 1;
    held[i] = held[1 - i]; held[1 - i] = 0; share[1 - i] = 0; ramped[1 - i] = true;
    ph[1 - i] = released; proofs[1 - i] = 0;
    enter(i, shedding); told[i] = true
  :: else ->
    if
    :: base > FIRM ->
      share[i] = 1; lent[i] = 1; base--;
      if
      :: own_ai > 0 -> own_ai--; held[i] = 1
      :: else -> hold(i)
      fi;
      enter(i, shedding); told[i] = true
    :: else -> enter(i, aborted)
    fi
  fi
}
inline prove_taken(i) {
  node_is_down(i);
  if
  :: proved && ph[i] == verifying -> enter(i, freed)
  :: proved && ph[i] == breached -> base = base + lent[i]; let_go(i); enter(i, aborted)
  :: !proved && late && ph[i] == breached -> base = base + lent[i]; let_go(i); enter(i, aborted)
  :: !proved && late && ph[i] == verifying -> enter(i, breached)
  :: else
  fi
}
inline to_mining(i) {
  if
  :: ph[i] == requested -> admit_taking(i)
  :: ph[i] == shedding -> if :: told[i] -> skip :: else -> cut[i] = true; enter(i, verifying) fi
  :: ph[i] == verifying || ph[i] == breached -> prove_taken(i)
  :: ph[i] == freed ->
    let_go(i);
    if :: lent[i] == 0 -> enter(i, released) :: else -> enter(i, in_use) fi
  :: ph[i] == in_use -> if :: due -> hold(i); enter(i, draining) :: else fi
  :: ph[i] == draining -> enter(i, releasing); told[i] = true
  :: ph[i] == releasing ->
    freed_is_proved(i);
    if
    :: proved -> let_go(i); base = base + lent[i]; enter(i, released)
    :: !proved && late -> let_go(i); enter(i, released)
    :: else
    fi
  :: else
  fi
}

inline advance(i) {
  late = lng;
  turn = 0;
  do
  :: turn < 14 && LIVE(i) ->
    before = ph[i];
    if :: mine[i] -> to_mining(i) :: else -> to_ai(i) fi;
    if :: ph[i] == before -> break :: else -> turn++ fi
  :: else -> break
  od
}

inline recover(l) {
  tmp = debt[l];
  if
  :: tmp > 0 ->
    recover_cut(1); recover_cut(0);
    recover_opening(1); recover_opening(0);
    recover_grant(1); recover_grant(0)
  :: else
  fi
}
inline recover_cut(i) { if :: held[i] > 0 && cut[i] -> tmp = tmp - held[i] :: else fi }
inline recover_opening(i) {
  if
  :: tmp > 0 && held[i] > 0 && !cut[i] && OPENING(i) -> tmp = tmp - held[i]; let_go(i); enter(i, aborted)
  :: else
  fi
}
inline recover_grant(i) {
  if
  :: tmp > 0 && held[i] > 0 && !cut[i] && !mine[i] && !OPENING(i) && !ENDED(i) ->
    tmp = tmp - held[i]; drain_now(i)
  :: else
  fi
}

/* permitsOf: what the world may do next. */
inline permit(to_res, to_grant, to_ceil) {
  to_res = 0; to_grant = 0; to_ceil = CEILING;
  used = POSITIVE(ws - base);
  permit_one(0, to_res, to_grant); permit_one(1, to_res, to_grant)
}
inline permit_one(i, to_res, to_grant) {
  if
  :: !BY_AI(i) -> to_res = to_res + held[i]
  :: else ->
    tmp = (share[i] < used -> share[i] : used);
    used = used - tmp;
    now_ = POSITIVE(ADDS(i) - lent[i] - tmp);
    now_ = (now_ < share[i] - tmp -> now_ : share[i] - tmp);
    to_grant = to_grant + now_;
    to_res = to_res + share[i] - tmp - now_
  fi
}

inline tick() {
  told[0] = false; told[1] = false; entered[0] = false; entered[1] = false;
  was_over[0] = over[0]; was_over[1] = over[1];
  ws = w;
  settle();
  tmp = POSITIVE(base + HELD_SHARES - ws);
  room[GRID] = (fresh[GRID] -> CAP(GRID) - FLOW(GRID) - tmp : -99);
  room[FEEDER] = (fresh[FEEDER] -> CAP(FEEDER) - FLOW(FEEDER) - tmp : -99);
  advance(0);
  book(GRID); book(FEEDER);
  advance(1);
  book(GRID); book(FEEDER);
  settle();
  recover(GRID);
  recover(FEEDER);
  forget_over(0); forget_over(1)
}
/* Only a grant that may be drawn remembers it; for the others it says nothing. */
inline forget_over(i) { if :: ph[i] != ramping && ph[i] != in_use -> over[i] = false :: else fi }

inline act() {
  permit(pres, pgrant, pceil);
  /* Firm AI keeps its floor. */
  assert(pceil >= FIRM)
}

hidden byte rres, rgrant, rceil;
inline restore() {
  permit(rres, rgrant, rceil);
  tmp = 0;
  ws = 0;
  proofs[0] = 0; proofs[1] = 0; over[0] = false; over[1] = false;
  act();
  /* No more than before: not to AI, and not to mining. */
  assert(pceil <= rceil);
  assert(pres + pgrant >= rres + rgrant)
}

/* What rises stays under every limit on its path. */
inline rose_at_feeder() { assert(FLOW(FEEDER) <= CAP(FEEDER)); assert(FLOW(GRID) <= CAP(GRID)) }
#define ROOM(l) (CAP(l) - FLOW(l) - pres - pgrant >= 1)

inline say() {
  printf("seen %d%d%d%d%d world %d %d %d %d%d %d\n", fresh[0], fresh[1], node, obey, lng, d0, d1, w, low[0], low[1], due);
  printf("state %e %d %d %d %d %d %d | %e %d %d %d %d %d %d | %d %d %d %d\n",
    ph[0], mine[0], share[0], lent[0], held[0], ramped[0], cut[0],
    ph[1], mine[1], share[1], lent[1], held[1], ramped[1], cut[1], base, pres, pgrant, pceil)
}

inline end_by(i, taker) {
  if
  :: OPENING(i) -> if :: held[i] > 0 -> held[i] = 0 :: else fi; ph[i] = aborted; proofs[i] = 0
  :: mine[i] && (ph[i] == requested || ((ph[i] == shedding || ph[i] == verifying) && !cut[i])) ->
    base = base + share[i]; held[i] = 0; ph[i] = aborted; proofs[i] = 0
  :: mine[i] && ph[i] == in_use -> held[i] = lent[i]; ph[i] = draining; proofs[i] = 0
  :: !mine[i] && (ph[i] == ramping || ph[i] == in_use) ->
    if :: taker -> cut[i] = true :: else fi;
    ph[i] = draining; proofs[i] = 0
  :: else
  fi;
  forget_over(i)
}

#define QUIET (!LIVE(0) && !LIVE(1))

init {
  ph[0] = none; ph[1] = none;
  ws = w;
  do
  /* Requests: each of the two once, in either direction. */
  :: !down && ph[0] == none -> atomic { MOVED; if :: mine[0] = true :: skip fi; ph[0] = requested; act(); printf("move request0\n"); say() }
  :: !down && ph[0] != none && ph[1] == none -> atomic { MOVED; if :: mine[1] = true :: skip fi; ph[1] = requested; act(); printf("move request1\n"); say() }
  :: !down && LIVE(0) RARELY(2) -> atomic { MOVED; end_by(0, false); act(); printf("move end0\n"); say() }
  :: !down && LIVE(1) RARELY(3) -> atomic { MOVED; end_by(1, false); act(); printf("move end1\n"); say() }
  :: !down && LIVE(0) && !mine[0] && (ph[0] == ramping || ph[0] == in_use) RARELY(4) ->
    atomic { MOVED; end_by(0, true); act(); printf("move back0\n"); say() }
  :: !down && LIVE(1) && !mine[1] && (ph[1] == ramping || ph[1] == in_use) RARELY(5) ->
    atomic { MOVED; end_by(1, true); act(); printf("move back1\n"); say() }
  /* One cycle; the process may die when it is written and not acted on. */
  :: !down -> atomic {
      PICK(fresh[0]);
      PICK(fresh[1]);
      PICK(node);
      PICK(obey);
      DRAW_LUCK;
      if :: true RARELY(1) -> lng = true :: true RARELY(1) -> lng = false :: lng = false fi;
      d_step { tick() };
      CYCLED;
      if
      :: act(); printf("move tick\n"); say()
      :: MAY_CRASH RARELY(7) -> CRASHED; down = true; printf("move dying\n"); say()
      fi;
      fresh[0] = false; fresh[1] = false; node = false; obey = false; lng = false
    }
  :: down || (MAY_CRASH RARELY(6)) -> atomic {
      MOVED;
      if :: down -> down = false :: else -> CRASHED fi;
      restore(); printf("move restart\n"); say()
    }
  /* The world, under the permits that were acted on last. While nobody is there to tell them, donors do not rise;
     a grant may still be drawn. */
  :: d0 > 0 -> atomic { d0--; MOVED }
  :: d1 > 0 -> atomic { d1--; MOVED }
  :: !down && d0 < 2 && ROOM(GRID) -> atomic { d0++; MOVED; assert(FLOW(GRID) <= CAP(GRID)) }
  :: !down && d1 < 2 && ROOM(GRID) && ROOM(FEEDER) -> atomic { d1++; MOVED; rose_at_feeder() }
  :: w < MOST && w < pceil && w >= pceil - pgrant &&
     (!dropped || (FLOW(GRID) < CAP(GRID) && FLOW(FEEDER) < CAP(FEEDER))) ->
     atomic { w++; MOVED; rose_at_feeder() }
  :: !down && w < MOST && w < pceil - pgrant && ROOM(GRID) && ROOM(FEEDER) -> atomic { w++; MOVED; rose_at_feeder() }
  :: w > LEAST && (w > pceil || FLOW(GRID) > CAP(GRID) || FLOW(FEEDER) > CAP(FEEDER)) -> atomic { w--; MOVED }
  :: MAY_FALL && !low[0] RARELY(8) -> atomic { low[0] = true; dropped = true; MOVED }
  :: MAY_FALL && !low[1] RARELY(9) -> atomic { low[1] = true; dropped = true; MOVED }
  :: low[0] -> atomic { low[0] = false; MOVED }
  :: low[1] -> atomic { low[1] = false; MOVED }
  :: !due RARELY(10) -> atomic { due = true; MOVED }
  od
}

/* Nothing lives on for ever: while time passes and what was asked ends, every hand-over ends. */
#ifdef LIVENESS
ltl ends { (([] <> was_long) && (<> due)) -> <> [] QUIET }
#endif
