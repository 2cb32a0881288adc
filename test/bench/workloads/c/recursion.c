#include "workload.h"

enum { NUMBERS_MAX = 200000 };
static int numbers[NUMBERS_MAX];

static int compare(const void *a, const void *b) {
  int x = *(const int *)a, y = *(const int *)b;
  return (x > y) - (x < y);
}

/** Sorts n numbers with the C library: calls through a table. */
WORKLOAD(qsortcb) {
  uint32_t seed = 1;
  for (int i = 0; i < n; i++) {
    seed = seed * 1664525u + 1013904223u;
    numbers[i] = (int)(seed >> 8);
  }
  qsort(numbers, n, sizeof *numbers, compare);
  return numbers[n / 2];
}

static int place(unsigned all, unsigned columns, unsigned left, unsigned right) {
  if (columns == all) return 1;
  int found = 0;
  for (unsigned free = all & ~(columns | left | right); free != 0; free &= free - 1) {
    unsigned bit = free & -free;
    found += place(all, columns | bit, (left | bit) << 1, (right | bit) >> 1);
  }
  return found;
}

/** Counts the ways to place n queens. */
WORKLOAD(queens) { return place((1u << n) - 1, 0, 0, 0); }

struct node {
  struct node *left, *right;
};

static struct node *grow(int depth) {
  struct node *node = malloc(sizeof *node);
  node->left = depth > 0 ? grow(depth - 1) : NULL;
  node->right = depth > 0 ? grow(depth - 1) : NULL;
  return node;
}

static int fell(struct node *node) {
  int count = 1;
  if (node->left) count += fell(node->left) + fell(node->right);
  free(node);
  return count;
}

/** Builds a binary tree of depth n and takes it apart: malloc and free. */
WORKLOAD(bintree) { return fell(grow(n)); }
