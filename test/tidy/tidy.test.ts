import { Glob } from "bun";
import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { dirname, join, normalize } from "node:path";
import { parseSync, Visitor } from "oxc-parser";

const leaves = ["errors.ts", "limits.ts", "clock.ts", "log.ts"];
/** Stands for any npm package and any module of the runtime. */
const packages = "a package";
/** An import whose path is put together at run time; nobody can check it. */
const computed = "(computed)";

/** What each part of src/ may import besides itself: parts, or single files of a part. */
const layers: Readonly<Record<string, readonly string[] | "all">> = {
  "main.ts": "all",
  "errors.ts": [],
  "limits.ts": [],
  "clock.ts": [],
  "log.ts": [],
  agent: ["errors.ts", "limits.ts"],
  store: ["agent", ...leaves, packages],
  llm: ["agent", ...leaves, packages],
  sandbox: ["agent", ...leaves, packages],
  engine: [
    "agent",
    ...leaves,
    "store/store.ts",
    "store/agent-file.ts",
    "llm/model.ts",
    "sandbox/sandbox.ts",
    packages,
  ],
  metrics: ["agent", ...leaves, "store/store.ts", "llm/model.ts", packages],
  api: ["engine", "agent", "gen", ...leaves, packages],
  server: ["api", "gen", ...leaves, packages],
  cli: "all",
  gen: [packages],
};

/** memory.ts is what the stores are compared with: only tests import it. */
const roots = ["src/main.ts", "src/store/memory.ts"];
/** `bun run bench` with the processes that it starts, and `bun run mutants`. */
const commandRoots = [
  "test/bench/bench.ts",
  "test/bench/hostile/attacks.ts",
  "test/bench/sandbox/workload-process.ts",
  "test/bench/server/echo-server.ts",
  "test/mutants/mutants.ts",
];
const generated = (path: string): boolean => path.startsWith("src/gen/");
const linesMax = 400;
const topFolders = [".ci/", "proto/", "src/", "test/", "tools/"];
const topFiles = [".gitignore", "LICENSE", "README.md", "buf.gen.yaml", "buf.yaml", "bun.lock"];
const topSettings = ["bunfig.toml", "package.json", "tsconfig.json"];

type Source = {
  readonly path: string;
  readonly text: string;
  /** As written: relative paths and package names, those of types too. */
  readonly imports: readonly string[];
};

const parse = async (path: string): Promise<Source> => {
  const text = await Bun.file(path).text();
  const { program, errors } = parseSync(path, text);
  if (errors[0]) throw new Error(`${path}: ${errors[0].message}`);
  const imports: string[] = [];
  new Visitor({
    ImportDeclaration: (node) => void imports.push(node.source.value),
    ExportAllDeclaration: (node) => void imports.push(node.source.value),
    ExportNamedDeclaration: (node) => void (node.source && imports.push(node.source.value)),
    TSImportType: (node) => void imports.push(node.source.value),
    ImportExpression: ({ source }) =>
      void imports.push(source.type === "Literal" ? String(source.value) : computed),
  }).visit(program);
  return { path, text, imports };
};

const filesOf = async (...patterns: string[]): Promise<string[]> => {
  const scans = patterns.map((pattern) => Array.fromAsync(new Glob(pattern).scan()));
  const lists = await Promise.all(scans);
  return lists.flat().toSorted();
};

// Declarations of foreign modules are the compiler's; nobody imports them.
const sources = await Promise.all(
  (await filesOf("src/**/*.ts")).filter((path) => !path.endsWith(".d.ts")).map(parse),
);
// What the bench measures is AssemblyScript.
const isWorkload = (path: string): boolean => path.startsWith("test/bench/workloads/");
const tests = await Promise.all(
  (await filesOf("test/**/*.ts")).filter((path) => !isWorkload(path)).map(parse),
);

/** The file that an import means, from the top of the repository. */
const target = (path: string, from: string): string => {
  if (from.startsWith(".")) return normalize(join(dirname(path), from));
  return from === computed ? computed : packages;
};
const importsOf = new Map(
  [...sources, ...tests].map(({ path, imports }) => [
    path,
    imports.map((from) => target(path, from)),
  ]),
);
const partOf = (path: string): string => path.split("/")[1] ?? "";

const allowed = (path: string, to: string): boolean => {
  const permitted = layers[partOf(path)] ?? [];
  if (permitted === "all") return true;
  if (to === packages) return permitted.includes(packages);
  if (!to.startsWith("src/")) return false;
  const inside = to.slice("src/".length);
  return partOf(to) === partOf(path) || [partOf(to), inside].some((it) => permitted.includes(it));
};

const reachedFrom = (start: readonly string[]): Set<string> => {
  const reached = new Set<string>();
  const open = [...start];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    if (reached.has(path)) continue;
    reached.add(path);
    open.push(...(importsOf.get(path) ?? []));
  }
  return reached;
};

test("the source tree was found", () => {
  expect(sources.length).toBeGreaterThan(5);
  expect(sources.flatMap(({ imports }) => imports).length).toBeGreaterThan(5);
});

test("every part of src/ is in the layer table", () => {
  const unknown = sources.map(({ path }) => path).filter((path) => !(partOf(path) in layers));
  expect(unknown).toEqual([]);
});

test("every import goes down the layer table", () => {
  const wrong = sources.flatMap(({ path, imports }) =>
    imports
      .filter((from) => !allowed(path, target(path, from)))
      .map((from) => `${path} imports ${from}`),
  );
  expect(wrong).toEqual([]);
});

// The compiler does not look whether they are there.
test("every tool that is imported is built where it is looked for", () => {
  const built = [...importsOf.values()].flat().filter((path) => path.endsWith(".wasm"));
  const sourceOf = (path: string): string =>
    path.replace(/^tools\/(.*)\.wasm$/, "tools/src/$1.json");
  expect(built).not.toEqual([]);
  expect(built.filter((path) => !existsSync(sourceOf(path)) || sourceOf(path) === path)).toEqual(
    [],
  );
});

test("no file of src/ leads back to itself, by types neither", () => {
  const cyclic = sources
    .map(({ path }) => path)
    .filter((path) => reachedFrom(importsOf.get(path) ?? []).has(path));
  expect(cyclic).toEqual([]);
});

test("every file of src/ is part of the program, every one of test/ of a test or a command", () => {
  const inProgram = reachedFrom(roots);
  const inTests = reachedFrom([
    ...tests.map(({ path }) => path).filter((path) => path.endsWith(".test.ts")),
    ...commandRoots,
  ]);
  const unused = [
    ...sources.filter(({ path }) => !generated(path) && !inProgram.has(path)),
    ...tests.filter(({ path }) => !inTests.has(path)),
  ];
  expect(unused.map(({ path }) => path)).toEqual([]);
});

test(`no file is longer than ${linesMax} lines`, () => {
  const long = [...sources, ...tests].filter(
    ({ path, text }) => !generated(path) && text.trimEnd().split("\n").length > linesMax,
  );
  expect(long.map(({ path }) => path)).toEqual([]);
});

test("the top of the repository holds what it should, and nothing else", async () => {
  const ignored = (await Bun.file(".gitignore").text()).split("\n");
  const isIgnored = (name: string): boolean =>
    ignored.includes(name) || ignored.includes(name.replace("/", ""));
  const present = (await readdir(".", { withFileTypes: true }))
    .map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name))
    .filter((name) => name !== ".git/" && name !== ".git" && !isIgnored(name));
  expect(present.toSorted()).toEqual([...topFolders, ...topFiles, ...topSettings].toSorted());
});

test("nothing is left for later in a comment", async () => {
  // Written so that this file does not hold them.
  const marker = /\b(?:TO[D]O|FIX[M]E|X[X]X)\b/;
  const paths = await filesOf(
    "{src,test,tools,proto}/**/*.{ts,js,json,md,proto,py,go,sh,html}",
    ".ci/*",
    "*.{md,json,yaml,toml}",
  );
  expect(paths).toContain(".ci/run");
  expect(paths.length).toBeGreaterThan(20);
  const marked: string[] = [];
  for (const path of paths) if (marker.test(await Bun.file(path).text())) marked.push(path);
  expect(marked).toEqual([]);
});

type Manifest = {
  readonly scripts: Readonly<Record<string, string>>;
  readonly engines: { readonly bun: string };
  readonly devDependencies: Readonly<Record<string, string>>;
};

test("the README's commands name files, scripts and the Bun that exist", async () => {
  const manifest: Manifest = await Bun.file("package.json").json();
  const readme = await Bun.file("README.md").text();
  const code = [...readme.matchAll(/^```.*\n([^]*?)^```/gm)].map(([, block]) => block).join("\n");
  const all = (pattern: RegExp): string[] => [...code.matchAll(pattern)].map((m) => m[1] ?? "");

  const paths = all(/(?<![\w/.-])(?:\.\/)?((?:src|test|tools|proto|\.ci)\/[\w./-]*\w)/g);
  expect(paths.filter((path) => !existsSync(path))).toEqual([]);
  const scripts = all(/\bbun(?:@[\d.]+)? run (?:--\S+ )*([a-z][\w:-]*)(?![\w./])/g);
  expect(scripts.filter((name) => !(name in manifest.scripts))).toEqual([]);
  expect(scripts).toContain("test");

  const versions = [...readme.matchAll(/\bbun@([\w.]+)/g)].map(([, version]) => version);
  expect(new Set([...versions, manifest.devDependencies["bun"]])).toEqual(
    new Set([manifest.engines.bun]),
  );
});
