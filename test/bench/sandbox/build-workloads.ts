import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";

const workloads = join(import.meta.dir, "../workloads");

/** A workload's module, or what this machine lacks to build it. */
export type Built =
  | { readonly path: string; readonly missing: null }
  | { readonly missing: string };

const compile = async (
  command: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>> = {},
): Promise<void> => {
  const child = Bun.spawn([...command], {
    cwd,
    env: { ...process.env, ...env },
    stdin: "ignore",
    stdout: "inherit",
    stderr: "pipe",
  });
  const [complaints, exitCode] = await Promise.all([child.stderr.text(), child.exited]);
  if (exitCode !== 0) throw new Error(`${command.join(" ")} failed:\n${complaints}`);
};

const ascPath = join(import.meta.dir, "../../../node_modules/assemblyscript/bin/asc.js");

/** All AssemblyScript workloads in one module: each is an export that takes its size. */
export const buildAssemblyScript = async (folder: string): Promise<string> => {
  const path = join(folder, "assemblyscript.wasm");
  const files = ["assemblyscript/program.ts", "--outFile", path];
  const options = ["-O3", "--exportStart", "_start", "--use", "abort=assemblyscript/abort/abort"];
  await compile([process.execPath, ascPath, ...files, ...options], workloads);
  return path;
};

/** As Debian names it with its package clang, and with clang-14 alone. */
const compilers = ["clang", "clang-14"];
const libraryPath = "/usr/include/wasm32-wasi";
const packages = "clang-14 lld-14 wasi-libc libclang-rt-14-dev-wasm32";

/** All C workloads in one module, as those of AssemblyScript. */
export const buildC = async (folder: string): Promise<Built> => {
  const compiler = compilers.find((name) => Bun.which(name) !== null);
  if (compiler === undefined || !existsSync(libraryPath)) {
    return { missing: `clang or wasi-libc (Debian 12: apt-get install ${packages})` };
  }
  const path = join(folder, "c.wasm");
  const cwd = join(workloads, "c");
  const sources = (await readdir(cwd)).filter((file) => file.endsWith(".c")).toSorted();
  await compile([compiler, "--target=wasm32-wasi", "-O2", "-o", path, ...sources], cwd);
  return { path, missing: null };
};

/** A Go command: `program` is the workload, `tool` a module of the size of a usual tool. */
export const buildGo = async (folder: string, name: "program" | "tool"): Promise<Built> => {
  if (Bun.which("go") === null) return { missing: "go (1.24 or later)" };
  const path = join(folder, `go-${name}.wasm`);
  const command = ["go", "build", "-trimpath", "-o", path, "main.go"];
  await compile(command, join(workloads, `go-${name}`), { GOOS: "wasip1", GOARCH: "wasm" });
  return { path, missing: null };
};
