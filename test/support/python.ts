import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Pinned, so that a failure is ours and not a new release's. grpcio-tools brings the protoc that makes the stubs. */
const requirements = [
  "grpcio==1.76.0",
  "grpcio-tools==1.76.0",
  "grpcio-health-checking==1.76.0",
  "grpcio-reflection==1.76.0",
  "protobuf==6.33.2",
];
/** The published client of the original engine; its package has the name of our stubs' one, so it has a folder of its own. */
const publishedClient = "engram-sdk==0.1.1";
const protos = ["engram/api/v1/agent.proto", "dura/api/v1/agent.proto"];

const repository = join(import.meta.dir, "..", "..");
const cache = join(repository, ".cache", "python");
const scripts = join(import.meta.dir, "python");
const python = join(cache, "bin", "python");
const published = join(cache, "engram-sdk");

const run = (command: string[]): void => {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command, { stdout: "pipe", stderr: "pipe" });
  if (exitCode === 0) return;
  throw new Error(
    `${command.join(" ")} failed with ${exitCode}:\n${stdout.toString()}${stderr.toString()}`,
  );
};

/** Makes the environment beside the old one, so that an interrupted installation is not taken for a whole one. */
const installEnvironment = (): void => {
  const wanted = `${[...requirements, publishedClient].join("\n")}\n`;
  const marker = join(cache, "requirements.txt");
  if (existsSync(marker) && readFileSync(marker, "utf8") === wanted) return;
  rmSync(cache, { recursive: true, force: true });
  mkdirSync(join(repository, ".cache"), { recursive: true });
  run(["python3", "-m", "venv", cache]);
  const install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
  run([...install, ...requirements]);
  run([...install, "--no-deps", "--target", published, publishedClient]);
  writeFileSync(marker, wanted);
};

/** Compiles proto/ with protoc (that it does is part of what the tests show), anew whenever a file has changed. */
const generateStubs = (): string => {
  const include = join(repository, "proto");
  const hash = Bun.hash(protos.map((path) => readFileSync(join(include, path), "utf8")).join());
  const stubs = join(repository, ".cache", `python-stubs-${hash.toString(36)}`);
  if (existsSync(stubs)) return stubs;
  const fresh = `${stubs}.${process.pid}`;
  mkdirSync(fresh, { recursive: true });
  const out = [`--python_out=${fresh}`, `--grpc_python_out=${fresh}`];
  run([python, "-m", "grpc_tools.protoc", `-I${include}`, ...out, ...protos]);
  renameSync(fresh, stubs);
  return stubs;
};

let stubs: string | null = null;
const prepare = (): string => {
  if (stubs === null) installEnvironment();
  return (stubs ??= generateStubs());
};

/** Starts test/support/python/NAME with the stubs of proto/, or those of the published client, importable. The caller awaits or kills it. */
const spawnPython = (
  name: string,
  args: readonly string[],
  whose: "ours" | "published" = "ours",
): Bun.Subprocess<"pipe", "pipe", "pipe"> => {
  const made = prepare();
  const path = whose === "ours" ? made : published;
  return Bun.spawn([python, join(scripts, name), ...args], {
    env: {
      ...process.env,
      PYTHONPATH: path,
      PYTHONDONTWRITEBYTECODE: "1",
      PYTHONFAULTHANDLER: "1",
    },
    stdin: "pipe",
    stdout: "pipe",
    stderr: "pipe",
  });
};

/** The scripts' calls have deadlines of their own, and each script makes few. */
const scriptMsMax = 120_000;

/**
 * Runs a script to its end and gives what it printed, as JSON; throws with its stderr when it fails. One that hangs is
 * ended by a signal at which Python tells where each of its threads is.
 */
export const runPython = async (
  name: string,
  args: readonly string[],
  whose: "ours" | "published" = "ours",
): Promise<unknown> => {
  const child = spawnPython(name, args, whose);
  const hung = setTimeout(() => child.kill("SIGABRT"), scriptMsMax);
  const [stdout, stderr, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  clearTimeout(hung);
  if (exitCode !== 0) throw new Error(`${name} ended with ${exitCode}:\n${stderr}`);
  return JSON.parse(stdout);
};
