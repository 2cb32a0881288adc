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

const sysroots = ["/usr/include/wasm32-wasi", "/usr/share/wasi-sysroot"];

/** All C workloads in one module, as those of AssemblyScript. */
export const buildC = async (folder: string): Promise<Built> => {
  const hasCompiler = Bun.which("clang") !== null && Bun.which("wasm-ld") !== null;
  const hasLibrary = (
    await Promise.all(sysroots.map((path) => readdir(path).catch(() => [])))
  ).some((entries) => entries.length > 0);
  if (!hasCompiler || !hasLibrary) {
    const packages = "clang lld wasi-libc libclang-rt-14-dev-wasm32";
    return { missing: `clang, wasm-ld or wasi-libc (Debian 12: apt-get install ${packages})` };
  }
  const path = join(folder, "c.wasm");
  const cwd = join(workloads, "c");
  const sources = (await readdir(cwd)).filter((file) => file.endsWith(".c")).toSorted();
  await compile(["clang", "--target=wasm32-wasi", "-O2", "-o", path, ...sources], cwd);
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
