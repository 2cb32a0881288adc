/** The primes up to n: a store per round of a tight loop. */
export function sieve(n: i32): i32 {
  const composite = new Uint8Array(n + 1);
  let count = 0;
  for (let i = 2; i <= n; i++) {
    if (unchecked(composite[i])) continue;
    count++;
    for (let j = i * 2; j <= n; j += i) unchecked((composite[j] = 1));
  }
  return count;
}
