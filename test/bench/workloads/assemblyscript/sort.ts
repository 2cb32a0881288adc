/** Insertion sort of n numbers: a load, a compare and a store per round. */
export function sort(n: i32): i32 {
  const numbers = new StaticArray<i32>(n);
  let seed: u32 = 12345;
  for (let i = 0; i < n; i++) {
    seed = seed * 1664525 + 1013904223;
    unchecked((numbers[i] = <i32>(seed >>> 8)));
  }
  for (let i = 1; i < n; i++) {
    const moved = unchecked(numbers[i]);
    let at = i - 1;
    while (at >= 0 && unchecked(numbers[at]) > moved) {
      unchecked((numbers[at + 1] = numbers[at]));
      at--;
    }
    unchecked((numbers[at + 1] = moved));
  }
  return unchecked(numbers[n >> 1]);
}
