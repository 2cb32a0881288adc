#include "workload.h"

/** The longest Collatz sequence below n: a loop whose rounds nobody can foresee. */
WORKLOAD(collatz) {
  int longest = 0;
  for (int i = 1; i < n; i++) {
    int length = 0;
    for (uint64_t x = i; x != 1; x = x & 1 ? 3 * x + 1 : x >> 1) length++;
    if (length > longest) longest = length;
  }
  return longest;
}

enum { BODIES = 5 };

/** n steps of five bodies on a line: loops of five rounds and less. */
WORKLOAD(nbody) {
  double x[BODIES] = {0, 4.8, 8.3, 12.8, 15.3};
  double v[BODIES] = {0, .6, -1, 1, .9};
  const double mass[BODIES] = {39, .03, .01, .001, .002};
  for (int step = 0; step < n; step++) {
    for (int i = 0; i < BODIES; i++) {
      for (int j = i + 1; j < BODIES; j++) {
        double d = x[i] - x[j], square = d * d + .01;
        double pull = .001 / (square * __builtin_sqrt(square));
        v[i] -= d * mass[j] * pull;
        v[j] += d * mass[i] * pull;
      }
    }
    for (int i = 0; i < BODIES; i++) x[i] += .001 * v[i];
  }
  return x[0];
}

/** The edit distance of two texts of n letters, one row of the table at a time. */
WORKLOAD(lev) {
  static int row[4096];
  for (int j = 0; j <= n; j++) row[j] = j;
  for (int i = 1; i <= n; i++) {
    int diagonal = row[0];
    row[0] = i;
    for (int j = 1; j <= n; j++) {
      int above = row[j];
      int replaced = diagonal + (((i * 7) & 15) != ((j * 5) & 15));
      int inserted = row[j - 1] + 1, removed = above + 1;
      int best = inserted < removed ? inserted : removed;
      row[j] = replaced < best ? replaced : best;
      diagonal = above;
    }
  }
  return row[n];
}

static int flips(int *order) {
  int count = 0;
  for (int first = order[0]; first != 0; first = order[0]) {
    for (int i = 0, j = first; i < j; i++, j--) {
      int moved = order[i];
      order[i] = order[j];
      order[j] = moved;
    }
    count++;
  }
  return count;
}

/** The most flips that any order of n pancakes takes: short loops over a small array. */
WORKLOAD(fannkuch) {
  int order[16], tried[16], left[16];
  int most = 0, depth = n;
  for (int i = 0; i < n; i++) order[i] = i;
  for (;;) {
    for (; depth > 1; depth--) left[depth - 1] = depth;
    for (int i = 0; i < n; i++) tried[i] = order[i];
    int count = flips(tried);
    if (count > most) most = count;
    for (;;) {
      if (depth == n) return most;
      int first = order[0];
      for (int i = 0; i < depth; i++) order[i] = order[i + 1];
      order[depth] = first;
      if (--left[depth] > 0) break;
      depth++;
    }
  }
}
