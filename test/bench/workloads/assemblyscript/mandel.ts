const roundsMax = 100;

/** The Mandelbrot set on n by n points: floating-point arithmetic in registers. */
export function mandel(n: i32): i32 {
  let total = 0;
  for (let row = 0; row < n; row++) {
    for (let column = 0; column < n; column++) {
      const cr = (<f64>column / n) * 3 - 2;
      const ci = (<f64>row / n) * 2 - 1;
      let zr = 0.0;
      let zi = 0.0;
      let round = 0;
      while (round < roundsMax && zr * zr + zi * zi < 4) {
        const next = zr * zr - zi * zi + cr;
        zi = 2 * zr * zi + ci;
        zr = next;
        round++;
      }
      total += round;
    }
  }
  return total;
}
