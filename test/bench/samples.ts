/** The value below which the share `share` of the samples lies. */
export const quantile = (samples: readonly number[], share: number): number => {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
};

export const median = (samples: readonly number[]): number => quantile(samples, 0.5);

/** What the code takes when nothing else is in its way: for ratios on a machine that has more to do. */
export const least = (samples: readonly number[]): number => Math.min(...samples);

export const geometricMean = (ratios: readonly number[]): number =>
  Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length);

export const digits = (figure: number, count = 2): string => figure.toFixed(count);
