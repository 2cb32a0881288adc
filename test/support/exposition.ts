/** What a scrape holds. */
export type Exposition = {
  /** The one sample with this name and these labels, in any order; null: there is none. */
  value(name: string, labels?: Readonly<Record<string, string>>): number | null;
  /** All samples of a name added up, those with these labels where some are given. */
  sum(name: string, labels?: Readonly<Record<string, string>>): number;
  readonly names: readonly string[];
};

type Sample = {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
};
type Family = { readonly name: string; readonly type: string; readonly samples: Sample[] };

/** Reads the Prometheus text format 0.0.4, and throws at whatever a strict reader would not take. */
export function parseExposition(text: string): Exposition {
  const families: Family[] = [];
  let help: string | null = null;
  if (!text.endsWith("\n")) throw new Error("the last line has no end");
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const [, kind, name = "", rest = ""] =
      /^# (HELP|TYPE) ([a-zA-Z_:][\w:]*) (.+)$/.exec(line) ?? [];
    if (kind === "HELP") {
      if (families.some((family) => family.name === name)) throw new Error(`${name} comes twice`);
      help = name;
    } else if (kind === "TYPE") {
      if (help !== name) throw new Error(`${name} has no help`);
      if (!/^(?:counter|gauge|histogram)$/.test(rest)) throw new Error(`${name} is a ${rest}`);
      families.push({ name, type: rest, samples: [] });
    } else addSample(families.at(-1), sampleIn(line));
  }
  for (const family of families) checkFamily(family);
  const samples = families.flatMap((family) => family.samples);
  const matching = (name: string, labels: Readonly<Record<string, string>>): readonly Sample[] =>
    samples.filter(
      (sample) =>
        sample.name === name &&
        Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
    );
  return {
    names: families.map(({ name }) => name),
    value: (name, labels = {}) => {
      const found = matching(name, labels).filter(
        (sample) => Object.keys(sample.labels).length === Object.keys(labels).length,
      );
      return found[0]?.value ?? null;
    },
    sum: (name, labels = {}) => matching(name, labels).reduce((sum, { value }) => sum + value, 0),
  };
}

function sampleIn(line: string): Sample {
  const [whole, name = "", inside = "", number = ""] =
    /^([a-zA-Z_:][\w:]*)(?:\{([^]*)\})? (\S+)$/.exec(line) ?? [];
  const value = number === "+Inf" ? Infinity : Number(number);
  if (whole === undefined || number === "" || Number.isNaN(value))
    throw new Error(`this is no sample: ${line}`);
  const labels: Record<string, string> = {};
  const pair = /([a-zA-Z_]\w*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/y;
  while (pair.lastIndex < inside.length) {
    const [, label = "", text = ""] = pair.exec(inside) ?? [];
    if (label === "" || label in labels) throw new Error(`its labels are wrong: ${line}`);
    labels[label] = text;
  }
  return { name, labels, value };
}

function addSample(family: Family | undefined, sample: Sample): void {
  const suffixes = family?.type === "histogram" ? ["_bucket", "_sum", "_count"] : [""];
  if (!suffixes.some((suffix) => sample.name === `${family?.name}${suffix}`))
    throw new Error(`${sample.name} stands under ${family?.name ?? "nothing"}`);
  family?.samples.push(sample);
}

const keyOf = ({ name, labels }: Sample, ...without: readonly string[]): string =>
  JSON.stringify([
    name,
    Object.entries(labels)
      .filter(([label]) => !without.includes(label))
      .toSorted(([a], [b]) => (a < b ? -1 : 1)),
  ]);

function checkFamily({ name, type, samples }: Family): void {
  const keys = samples.map((sample) => keyOf(sample));
  if (new Set(keys).size < keys.length) throw new Error(`${name} has a sample twice`);
  if (type !== "gauge" && samples.some(({ value }) => value < 0))
    throw new Error(`${name} is below zero`);
  if (type === "counter" && !name.endsWith("_total")) throw new Error(`${name} is no name`);
  if (type === "histogram") checkHistogram(name, samples);
}

/** The buckets of each set of labels rise to the count. */
function checkHistogram(name: string, samples: readonly Sample[]): void {
  for (const total of samples.filter((sample) => sample.name === `${name}_count`)) {
    const wanted = keyOf({ ...total, name: `${name}_bucket` });
    const buckets = samples.filter((sample) => keyOf(sample, "le") === wanted);
    const bounds = buckets.map(({ labels: { le } }) => (le === "+Inf" ? Infinity : Number(le)));
    const counts = buckets.map(({ value }) => value);
    const rises = (list: readonly number[], least: number): boolean =>
      list.every((value, at) => at === 0 || value - (list[at - 1] ?? 0) >= least);
    if (bounds.at(-1) !== Infinity || !rises(bounds, Number.MIN_VALUE) || !rises(counts, 0))
      throw new Error(`the buckets of ${name} do not rise`);
    if (counts.at(-1) !== total.value) throw new Error(`${name} counts otherwise than its buckets`);
  }
}
