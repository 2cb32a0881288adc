/*
 * Stands between a program and the C library's calls that write files: slow syncs, failing syncs, failing writes, and a
 * count of the syncs, for files whose path contains "engram.db". It is told what to do, and tells what it saw, in the
 * file that FAULTY_DISK names: 32-bit integers in the order of `struct control`, mapped, so that each change counts at once.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct control {
  volatile int sync_delay_ms;
  volatile int sync_errno;
  volatile int write_errno;
  volatile int syncs;
};

static struct control *control(void) {
  static struct control *mapped = NULL;
  if (mapped != NULL) return mapped;
  const char *path = getenv("FAULTY_DISK");
  int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return NULL;
  void *at = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (at != MAP_FAILED) mapped = at;
  return mapped;
}

static int is_database(int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return strstr(path, "engram.db") != NULL;
}

static int synced(int fd, const char *name) {
  struct control *c = is_database(fd) ? control() : NULL;
  if (c != NULL) {
    /* In small pieces, so that a delay that is taken back ends. */
    for (int ms = 0; ms < c->sync_delay_ms; ms++) {
      struct timespec one = {0, 1000000};
      nanosleep(&one, NULL);
    }
    if (c->sync_errno != 0) {
      errno = c->sync_errno;
      return -1;
    }
    __sync_fetch_and_add(&c->syncs, 1);
  }
  int (*real)(int) = dlsym(RTLD_NEXT, name);
  return real(fd);
}

int fsync(int fd) { return synced(fd, "fsync"); }
int fdatasync(int fd) { return synced(fd, "fdatasync"); }

static ssize_t written(int fd, const void *buffer, size_t size, off64_t offset, const char *name) {
  struct control *c = control();
  if (c != NULL && c->write_errno != 0 && is_database(fd)) {
    errno = c->write_errno;
    return -1;
  }
  ssize_t (*real)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, name);
  return real(fd, buffer, size, offset);
}

ssize_t pwrite(int fd, const void *b, size_t n, off_t at) { return written(fd, b, n, at, "pwrite"); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t at) {
  return written(fd, b, n, at, "pwrite64");
}
