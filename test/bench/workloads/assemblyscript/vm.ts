const stop: u8 = 8;
const program: StaticArray<u8> = [0, 1, 2, 3, 4, 5, 6, 7, 1, 2, 5, 3, 0, 4, stop];

/** Interprets a program of 14 instructions n times: a jump table in a loop. */
export function vm(n: i32): i32 {
  let a = 1,
    x = 7,
    steps = 0;
  for (let round = 0; round < n; round++) {
    let at = 0;
    while (true) {
      const instruction = unchecked(program[at++]);
      if (instruction == stop) break;
      switch (instruction) {
        case 0:
          a += x;
          break;
        case 1:
          a ^= x << 3;
          break;
        case 2:
          x += a & 15;
          break;
        case 3:
          a *= 31;
          break;
        case 4:
          x ^= a >>> 5;
          break;
        case 5:
          a -= x;
          break;
        case 6:
          x = x * 3 + 1;
          break;
        case 7:
          a = rotl<i32>(a, 5);
          break;
      }
      steps++;
    }
  }
  return a + x + steps;
}
