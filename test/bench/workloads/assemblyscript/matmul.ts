/** The product of two n by n matrices. */
export function matmul(n: i32): f64 {
  const left = new StaticArray<f64>(n * n);
  const right = new StaticArray<f64>(n * n);
  const product = new StaticArray<f64>(n * n);
  for (let i = 0; i < n * n; i++) {
    unchecked((left[i] = <f64>(i % 7)));
    unchecked((right[i] = <f64>(i % 5)));
  }
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0.0;
      for (let k = 0; k < n; k++) sum += unchecked(left[i * n + k] * right[k * n + j]);
      unchecked((product[i * n + j] = sum));
    }
  }
  return unchecked(product[n + 1]);
}
