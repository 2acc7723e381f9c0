/*
 * The lease protocol of quorum mode, written from its description (package
 * seniority, doc.go: Voters, Holders, Terms) and not from its code, for the
 * model checker Spin. model_test.go runs it.
 *
 * What must hold, in every state that can be reached:
 *
 *   - never two holders at one instant, of any two runs of any two nodes, the
 *     keeper of a run that has crashed included;
 *   - at most one holder a term, as long as no voter has forgotten anything.
 *
 * What is modelled
 *
 *   - Voters that promise, renew, refuse and forget. Of them two are candidates.
 *   - K claims, each one term of one run of a candidate, renewed as often as it
 *     likes: claims 0 and 2 are of node 0, claims 1 and 3 of node OTHER. The
 *     later claim of a candidate either follows a claim that it gave up or lost
 *     by a restart, or raises its term while the first one stands: then confirms
 *     of either count for it.
 *   - Messages that are lost, late, repeated and overtaken without any limit.
 *   - Crashes: a run ends with an empty memory, its keeper holds on until the
 *     lease ends or its will is sent, the next run abstains.
 *   - Giving up at any moment, leading or not: a planned hand-over, an abandoned
 *     claim. The release may arrive at any later time, and any number of times.
 *   - All orders of the claims' terms, so candidates' wall clocks agree on
 *     nothing. Across a restart a node's own clock may go back too, and the same
 *     term may be claimed again. Without restarts two candidates may even take
 *     one term: voters alone must keep them apart.
 *   - With STAGES, a change of the list of voters by restarts: list s is of the
 *     first BASE + s nodes. Nodes after the first BASE are new, and start with
 *     the list that ends with themselves.
 *
 * What is not modelled: who wants to lead and when, objections (a refusal is a
 * lost message), the courtesy of preferring another, leases of different
 * lengths, the bound on terms, available mode, and that anything ever happens:
 * this is about safety only. A claim that is refused today may come again.
 *
 * Why it is enough
 *
 *   - Time is the age of things, in ticks, up to the lease; older is OLD. Nothing
 *     compares anything but an elapsed time with a lease, so no instant of the
 *     clock need be told from another, and runs are as long as they like. Within
 *     a tick everything may happen in any order.
 *   - A voter promises for one tick longer than the lease, by its own clock.
 *     That clock may be fast by this one tick, and a promise that is over sooner
 *     allows all that a longer one does, since a voter may always stay silent.
 *     So promises last exactly as long as leases here; NO_MARGIN shows that a
 *     tick less would not do.
 *   - A claim that stands is sent all the time, so its newest sending is the
 *     present one. A voter that hears an older one makes the same promise, and
 *     its confirm is worth less: nothing is possible then that is not possible
 *     with the newest. Claims of the past arrive late, at any time.
 *   - For the same reason one confirm is in flight from each voter for each
 *     claim: the newest. One that is never delivered is a lost one.
 *   - Nothing is forced to happen. A holder need not give up what has run out,
 *     and voters treat a promise that has run out as renewable, as the text says.
 *   - A vote for oneself is a message like any other, which may be instantaneous.
 *   - A promise that is over, to a claim that no claimant stands for any more, is
 *     dropped: its renewal would serve no claimant.
 *   - With STAGES, where there are more nodes, three things are left to the model
 *     without. A confirm counts at once: one that comes later is worth no more,
 *     and for one that is lost the check looks whether some of the confirms are
 *     enough. Claims of the past are not heard: they only take votes away. A
 *     restart always brings the next list.
 *
 * Every macro in "ways to break it" must make Spin find a violation; a model
 * that cannot fail proves nothing.
 */

#ifndef N
#define N 3            /* nodes */
#endif
#ifndef K
#define K 3            /* claims */
#endif
#ifndef OTHER
#define OTHER 1        /* the second candidate; the first is node 0 */
#endif
#ifndef LEASE
#define LEASE 2        /* ticks */
#endif
#ifndef RESTARTS
#define RESTARTS 0     /* at most so many, of any nodes */
#endif
#ifndef BASE
#define BASE N         /* voters in the first list */
#endif
#ifndef STAGES
#define STAGES 0       /* so many entries longer grow the lists of the first nodes */
#endif

/* Ways to break it. */

#ifdef NO_MARGIN            /* the promise ends by a clock that is too fast */
#define PROMISE (LEASE - 1)
#else
#define PROMISE LEASE
#endif
#ifdef NO_ABSTENTION        /* a voter that has just started votes at once */
#define ABSTENTION 0
#else
#define ABSTENTION PROMISE
#endif
#ifdef COUNT_FROM_RECEIPT   /* the holder counts from the confirm's arrival */
#define COUNTED_AGE(age) 0
#else
#define COUNTED_AGE(age) (age)
#endif
#ifdef NO_OWN_PROMISE       /* one's own vote needs no promise */
#define FOR_ITSELF(k, v) (OWNER(k) == v)
#else
#define FOR_ITSELF(k, v) false
#endif
#ifdef NO_STICKY            /* a newer term beats a running promise */
#define STICKY false
#else
#define STICKY true
#endif
#ifdef NO_INCARNATION       /* a node that restarted is taken for what it was */
#define SAME_TO_VOTERS(a, b) (OWNER(a) == OWNER(b))
#else
#define SAME_TO_VOTERS(a, b) SAME(a, b)
#endif
#ifdef SHARED_TERM          /* a voter gives one term to two holders */
#define NEW_TERM(k, v) (term[k] >= floor[v])
#else
#define NEW_TERM(k, v) (term[k] > floor[v])
#endif
#ifdef LATE_CONFIRMS        /* a confirm of a spent term counts */
#define COUNTS(k) (claim[k] == LIVE || claim[k] == SPENT && !past[k])
#else
#define COUNTS(k) (claim[k] == LIVE)
#endif
#ifdef REUSE_SPENT_TERM     /* a term that was given up is claimed again */
#define REUSABLE(k) (claim[k] == SPENT && !past[k])
#else
#define REUSABLE(k) false
#endif
#ifdef EARLY_RELEASE        /* the release is sent before the leader stops */
#define RELEASES_EARLY(k) (STANDS(k) && !released[k])
#else
#define RELEASES_EARLY(k) false
#endif
#ifdef SINGLE_MAJORITY      /* only the claimant's own list is asked */
#define VOTERS_LISTS_COUNT false
#else
#define VOTERS_LISTS_COUNT true
#endif

/* Claims. */

#define UNUSED 0
#define LIVE   1    /* its run claims, leads or hands over */
#define ORPHAN 2    /* its run has crashed; a keeper may hold on */
#define SPENT  3

byte claim[K];
byte term[K];
bit past[K];        /* the run that made the claim has ended */
bit follows[K];     /* made by the same run as the claim before of that node */
bit released[K];    /* a release of it has been sent */
bit won[K];         /* it has had a majority; kept while no node has restarted */

/* By claim and voter: how long ago the claim was sent that the newest confirm
 * in flight answers, and the same of the newest that has arrived. */
#define OLD LEASE
#define AT(k, v) ((k) * N + (v))
byte sent[K * N];
byte counted[K * N];

#define OWNER(k)     (((k) % 2) * OTHER)
#define STANDS(k)    (claim[k] == LIVE || claim[k] == ORPHAN)
#define GONE(k)      (claim[k] == ORPHAN || claim[k] == SPENT)
#define LATER(a, b)  ((a) > (b) -> (a) : (b))
#define SAME(a, b)   ((a) == (b) || OWNER(a) == OWNER(b) && follows[LATER(a, b)])
#define RAISES(k, b) (follows[k] && claim[k] == claim[b])

/* Voters. A promise to no claimant that runs is an abstention. */

#define NO_CLAIMANT K
byte promise[N];    /* the claim promised last */
byte left[N];       /* ticks */
byte floor[N];

byte restarts;

#define FREE(k, v)   (left[v] == 0 || promise[v] != NO_CLAIMANT && SAME_TO_VOTERS(promise[v], k))
#define GRANTS(k, v) (promise[v] == k || NEAR(k, v) && NEW_TERM(k, v) && (FREE(k, v) || !STICKY))
#define FREES(k, v)  (promise[v] != NO_CLAIMANT && SAME_TO_VOTERS(promise[v], k) && term[promise[v]] <= term[k])

/* Lists of voters: of nodes, of claims, and of confirms when they were sent. */

#if STAGES
byte list[N];
byte claimList[K];
byte confirmList[K * N];
#define NEAR(k, v) (list[v] <= claimList[k] + 1 && claimList[k] <= list[v] + 1)
#define PROMPT true
#define WITH_LISTS(what) what
#else
#define NEAR(k, v) true
#define PROMPT false
#define WITH_LISTS(what) skip
#endif

/* Scratch, of no meaning between steps. */
hidden byte i, j, n, lists, stage, votes, suffices, enough;
hidden byte votesFor[N];
hidden byte holds[K];

#define EACH(x, limit, what) x = 0; do :: x < limit -> what; x++ :: else -> break od
#define WHEN(condition, what) if :: condition -> what :: else fi
#define HIGHER(a, b) ((a) > (b) -> (a) : (b))

/* The holders. */

inline majority() {
	votes = 0;
	EACH(n, BASE + stage, votes = votes + votesFor[n]);
	suffices = suffices && votes >= (BASE + stage) / 2 + 1
}

/* count finds out whether confirms of claim k or other make a majority: of the
 * claimant's list, and of the list of each voter that confirmed. Any confirm may
 * have been lost, so it is enough if those from voters with some of the lists do. */
inline count(k, other) {
#if STAGES
	enough = false;
	EACH(lists, 1 << (N - BASE + 1),
		suffices = true;
		EACH(i, N, votesFor[i] = STANDS(k) && (
			counted[AT(k, i)] < LEASE && (lists >> confirmList[AT(k, i)]) & 1 ||
			counted[AT(other, i)] < LEASE && (lists >> confirmList[AT(other, i)]) & 1));
		stage = claimList[k];
		majority();
		EACH(stage, N - BASE + 1, WHEN(VOTERS_LISTS_COUNT && (lists >> stage) & 1, majority()));
		enough = enough || suffices
	)
#else
	EACH(i, N, votesFor[i] = STANDS(k) && (counted[AT(k, i)] < LEASE || counted[AT(other, i)] < LEASE));
	suffices = true;
	stage = 0;
	majority();
	enough = suffices
#endif
}

/* check runs after every step that can add a holder. */
inline check() {
	EACH(j, K,
		if
		:: j >= 2 && RAISES(j, j - 2) -> count(j, j - 2)
		:: j + 2 < K && RAISES(j + 2, j) -> count(j, j + 2)
		:: else -> count(j, j)
		fi;
		holds[j] = enough;
		WHEN(restarts == 0, count(j, j); won[j] = won[j] || enough)
	);
	EACH(i, K, EACH(j, i,
		assert(!(holds[i] && holds[j]) || SAME(i, j));           /* never two holders */
		assert(!(won[i] && won[j] && term[i] == term[j]))        /* one holder a term */
	))
}

/* The steps of a claimant. */

#define MAY_CLAIM(k) (claim[k] == UNUSED && (k < 2 || claim[k-2] != UNUSED && (past[k-2] || term[k-2] < term[k])))

inline makeClaim(k) {
	printf("node %d claims term %d (claim %d)\n", OWNER(k), term[k], k);
	claim[k] = LIVE;
	WHEN(k >= 2, follows[k] = !past[k-2]);
	WITH_LISTS(claimList[k] = list[OWNER(k)])
}

inline countConfirm(k, v) {
	printf("node %d counts the confirm of node %d, %d old, for claim %d\n", OWNER(k), v, sent[AT(k, v)], k);
	claim[k] = LIVE;
	counted[AT(k, v)] = COUNTED_AGE(sent[AT(k, v)]);
	sent[AT(k, v)] = OLD;
	check()
}

inline spend(k) {
	claim[k] = SPENT;
#ifndef LATE_CONFIRMS
	EACH(i, N, sent[AT(k, i)] = OLD);
#endif
	EACH(i, N, counted[AT(k, i)] = OLD)
}

/* giveUp ends a claim, and the one whose term it raised; of a run that has
 * crashed it is the keeper that stops and sends the will. */
inline giveUp(k) {
	printf("node %d gives claim %d up\n", OWNER(k), k);
	WHEN(k >= 2 && RAISES(k, k - 2), spend(k - 2));
	spend(k);
	released[k] = true;
	EACH(i, N, forget(i))
}

/* The steps of a voter. */

inline sendConfirm(k, v) {
	WHEN(claim[k] == LIVE && counted[AT(k, v)] > 0,
		sent[AT(k, v)] = 0;
		WITH_LISTS(confirmList[AT(k, v)] = list[v]))
}

inline confirm(k, v) {
	printf("node %d confirms claim %d\n", v, k);
	promise[v] = k;
	left[v] = PROMISE;
	floor[v] = HIGHER(floor[v], term[k]);
	WHEN(!PROMPT, sendConfirm(k, v))
}

inline hearRelease(k, v) {
	printf("node %d hears the release of claim %d\n", v, k);
	WHEN(FREES(k, v), promise[v] = NO_CLAIMANT; left[v] = 0);
	floor[v] = HIGHER(floor[v], term[k])
}

inline forget(v) {
	WHEN(promise[v] != NO_CLAIMANT && left[v] == 0 && GONE(promise[v]), promise[v] = NO_CLAIMANT)
}

/* The steps of a node, and of time. */

inline crash(k) {
	past[k] = true;
	WHEN(claim[k] == LIVE, claim[k] = ORPHAN; EACH(i, N, sent[AT(k, i)] = OLD))
}

inline restart(v) {
	printf("node %d restarts\n", v);
	restarts++;
	promise[v] = NO_CLAIMANT;
	left[v] = ABSTENTION;
	floor[v] = 0;
	EACH(j, K, won[j] = false; WHEN(OWNER(j) == v && claim[j] != UNUSED, crash(j)));
	EACH(i, N, forget(i))
}

inline tick() {
	printf("tick\n");
	EACH(i, K * N,
		sent[i] = (sent[i] < OLD -> sent[i] + 1 : OLD);
		counted[i] = (counted[i] < OLD -> counted[i] + 1 : OLD);
		WITH_LISTS(confirmList[i] = (sent[i] == OLD && counted[i] == OLD -> 0 : confirmList[i])));
	EACH(i, N, left[i] = (left[i] > 0 -> left[i] - 1 : 0); forget(i))
}

/* Everything that can happen. */

#define BETWEEN(k, v) \
	:: d_step { !PROMPT && claim[k] != UNUSED && GRANTS(k, v) && !FOR_ITSELF(k, v) -> confirm(k, v); skip } \
	:: d_step { claim[k] == LIVE && FOR_ITSELF(k, v) -> sendConfirm(k, v); skip } \
	:: d_step { COUNTS(k) && sent[AT(k, v)] < OLD -> countConfirm(k, v); skip } \
	:: d_step { PROMPT && claim[k] == LIVE && GRANTS(k, v) -> confirm(k, v); sendConfirm(k, v); countConfirm(k, v); skip } \
	:: d_step { released[k] && (FREES(k, v) || floor[v] < term[k]) -> hearRelease(k, v); skip }

#define OF_CLAIM(k) \
	:: d_step { MAY_CLAIM(k) -> makeClaim(k); skip } \
	:: d_step { REUSABLE(k) -> claim[k] = LIVE } \
	:: d_step { RELEASES_EARLY(k) -> released[k] = true } \
	:: d_step { STANDS(k) && (k + 2 >= K || !RAISES((k + 2) % K, k)) -> giveUp(k); skip } \
	BETWEEN(k, 0) BETWEEN(k, 1) BETWEEN(k, 2) BETWEEN_MORE(k)

#if N == 3
#define BETWEEN_MORE(k)
#elif N == 4
#define BETWEEN_MORE(k) BETWEEN(k, 3)
#elif N == 5
#define BETWEEN_MORE(k) BETWEEN(k, 3) BETWEEN(k, 4)
#endif

#if STAGES
#define OF_NODE(v) \
	:: d_step { restarts < RESTARTS && list[v] < STAGES -> restart(v); list[v] = list[v] + 1 }
#else
#define OF_NODE(v) \
	:: d_step { restarts < RESTARTS -> restart(v); skip }
#endif

/* The terms are any numbers from 1 on that leave no gap: every order, once. */
#define ANY_TERM(k) if :: term[k] = 1 :: term[k] = 2 :: term[k] = K fi
#if K == 2
#define USED(t) (term[0] == t || term[1] == t)
#define SHARED  (term[0] == term[1])
#else
#define USED(t) (term[0] == t || term[1] == t || term[2] == t)
#define SHARED  (term[0] == term[1] || term[2] == term[1])
#endif

init {
	d_step {
		EACH(i, K * N, sent[i] = OLD; counted[i] = OLD);
		EACH(i, N, promise[i] = NO_CLAIMANT);
		WITH_LISTS(EACH(i, N, list[i] = (i < BASE -> 0 : i - BASE + 1)));
		skip
	};
	ANY_TERM(0);
	ANY_TERM(1);
#if K > 2
	ANY_TERM(2);
#endif
	if
	:: USED(1) && (USED(2) || !USED(3)) && !(SHARED && RESTARTS > 0) -> skip
	:: else -> goto end
	fi;
	do
	OF_CLAIM(0)
	OF_CLAIM(1)
#if K > 2
	OF_CLAIM(2)
#endif
	OF_NODE(0) OF_NODE(1) OF_NODE(2)
	:: d_step { tick(); skip }
	od;
end:	skip
}
