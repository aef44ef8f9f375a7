/* Several threads on one call: its parts are taken by whoever is free, the caller and those who came to help.
 *
 * The caller never waits for a helper to come, only for one to finish the part it has taken: one that was put aside by
 * the system costs a part's delay and no more. What is computed does not depend on who computes it.
 */
#ifndef HEADRACE_TEAM_H
#define HEADRACE_TEAM_H
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

enum { MOST_IN_TEAM = 8, SPINS = 256 /* of waiting before others of this processor may go first */ };
typedef void Part(void *job, int number, int who); /* who: 0 the caller, then the helpers */

typedef struct { /* zeros at first */
    _Atomic uint64_t turn; /* the round << 48 | its parts << 24 | the next part to take */
    _Atomic int32_t unfinished, helpers, over;
    Part *part;
    void *job;
} Team;

static inline void wait_a_little(int *spins) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
    if (++*spins % SPINS == 0) sched_yield();
}

/* Whether there was something to take. A part is only taken in its own round: until it is finished, no other begins. */
static inline int take(Team *t, int who) {
    uint64_t turn = atomic_load_explicit(&t->turn, memory_order_acquire);
    int number = turn & 0xffffff, parts = turn >> 24 & 0xffffff;
    if (number >= parts) return 0;
    if (atomic_compare_exchange_strong(&t->turn, &turn, turn + 1)) {
        t->part(t->job, number, who);
        atomic_fetch_sub_explicit(&t->unfinished, 1, memory_order_release);
    }
    return 1;
}

static inline int is_helped(Team *t) { return t && atomic_load_explicit(&t->helpers, memory_order_relaxed); }

/* Do all parts of a job, at most 2^24; return when they are done. */
static inline void share(Team *t, int parts, Part *part, void *job) {
    if (parts < 2 || !is_helped(t)) {
        for (int number = 0; number < parts; number++) part(job, number, 0);
        return;
    }
    t->part = part;
    t->job = job;
    atomic_store_explicit(&t->unfinished, parts, memory_order_relaxed);
    uint64_t round = (atomic_load_explicit(&t->turn, memory_order_relaxed) >> 48) + 1;
    atomic_store_explicit(&t->turn, round << 48 | (uint64_t)parts << 24, memory_order_release);
    while (take(t, 0)) {}
    for (int spins = 0; atomic_load_explicit(&t->unfinished, memory_order_acquire);) wait_a_little(&spins);
}

/* Nothing more to take: helpers go, and who comes later goes at once. */
static inline void dismiss(Team *t) {
    if (t) atomic_store_explicit(&t->over, 1, memory_order_release);
}

/* Take parts until the caller is through. */
static inline void help(Team *t) {
    int who = atomic_fetch_add(&t->helpers, 1) + 1;
    if (who >= MOST_IN_TEAM) return;
    for (int spins = 0; !atomic_load_explicit(&t->over, memory_order_acquire);)
        if (!take(t, who)) wait_a_little(&spins);
}
#endif
