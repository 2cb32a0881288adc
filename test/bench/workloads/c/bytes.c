#include "workload.h"

enum { SIZE = 1 << 20 };
static unsigned char source[SIZE], target[SIZE];

/* Without the barrier the compiler makes one memory.copy or memory.fill of the loop. */
#define KEEP(byte) __asm__ volatile("" : "+r"(byte))

/** Copies a mebibyte n times, byte by byte. */
WORKLOAD(bytecopy) {
  for (int round = 0; round < n; round++) {
    for (int i = 0; i < SIZE; i++) {
      unsigned char byte = source[i];
      KEEP(byte);
      target[i] = byte;
    }
    source[round & 1023] = target[(round * 7) & 1023] + 1;
  }
  return target[5];
}

/** Fills a mebibyte n times, byte by byte. */
WORKLOAD(bytefill) {
  for (int round = 0; round < n; round++) {
    for (int i = 0; i < SIZE; i++) {
      unsigned char byte = (unsigned char)round;
      KEEP(byte);
      target[i] = byte;
    }
  }
  return target[5];
}

static uint32_t table[256];

/** CRC-32 of 64 KiB, n times, by a table. */
WORKLOAD(crc) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t entry = i;
    for (int bit = 0; bit < 8; bit++) entry = entry & 1 ? 0xEDB88320u ^ (entry >> 1) : entry >> 1;
    table[i] = entry;
  }
  uint32_t crc = ~0u;
  for (int round = 0; round < n; round++)
    for (int i = 0; i < 65536; i++) crc = table[(crc ^ source[i]) & 255] ^ (crc >> 8);
  return crc;
}

/** Counts the words of 64 KiB of text, n times. */
WORKLOAD(strscan) {
  static const char text[] = "hello world, foo bar baz\n";
  for (int i = 0; i < 65536; i++) source[i] = text[i % 25];
  int words = 0;
  for (int round = 0; round < n; round++) {
    int inWord = 0;
    for (int i = 0; i < 65536; i++) {
      unsigned char c = source[i];
      if (c == ' ' || c == '\n' || c == ',') {
        inWord = 0;
      } else if (!inWord) {
        inWord = 1;
        words++;
      }
    }
  }
  return words;
}
