const kib = 1024;
const mib = 1024 * kib;

/** Bounds of what calls hold in memory before they are carried out, and before their answers are read; and of what takes long. */
export const roomLimits = {
  /**
   * Of all calls together: 32 of the largest messages. What waits takes 1.2 times its size. Carried out all at once it
   * makes the process grow by 3 times as much of binary messages, by 5 of texts in JSON, by 7 of JSON in small parts,
   * most of it what the collector has not come to yet: so this stands for less than 1 GiB.
   */
  allBytesMax: 128 * mib,
  /** So much each call may have all the same. */
  smallBytes: 64 * kib,
  /** In a row, in a text in JSON: to read a number takes the square of its length, of this one 10 ms. */
  digitsMax: 256 * kib,
  /** Messages that are unzipped at once: each takes a message's room and 10 ms of a thread. */
  unzipsMax: 4,
  /** Of one HTTP/1.1 request, there before it is asked for; and before what it may cost is found out as it comes. */
  unreadBytesMax: 64 * kib,
  /** What is large, of all calls together: at two and a half times as much others wait five times as long. A lone message comes at once. */
  read: { bytesPerMs: 64 * kib, burstBytes: 4 * mib },
  /** What comes behind an answer, for clients that see the answer only when all is sent. */
  dropped: { bytesPerMs: 16 * kib, burstBytes: 4 * mib },
  /** Requests that came on one HTTP/1.1 connection before the first of them was answered; nobody sends many. */
  pipelinedMax: 4,
  /** The longest that is taken has 40; connect remembers a thousand that it was asked about for each method. */
  contentTypeCharsMax: 64,
} as const;
