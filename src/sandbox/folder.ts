/**
 * The tools folder. What it holds is looked up at each question: files whose size, times and inode are as they were are
 * known already, others are prepared anew. Watching the folder only lets that happen before someone asks.
 */
import { type FSWatcher, watch } from "node:fs";
import { open, readdir, realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import type { ToolLimits } from "../agent/event.ts";
import type { Clock } from "../clock.ts";
import { EngramError, messageOf } from "../errors.ts";
import { moduleLimits, sandboxLimits } from "../limits.ts";
import type { Log } from "../log.ts";
import { type ToolMetadata, noMetadata, parseMetadata, resolveLimits } from "./metadata.ts";
import type { ModuleInfo } from "./module-cache.ts";
import type { PreparedFile } from "./prepare.ts";
import type { ToolFile } from "../agent/toolbox.ts";

/** A tool's file and, where it is usable, its module. */
export type Tool = { readonly file: ToolFile; readonly info: ModuleInfo | null };

/** A prepared file, or a sentence why it could not be looked at; `isLasting`: as long as the file is as it is. */
export type Preparation = PreparedFile | { readonly problem: string; readonly isLasting: boolean };

export type Folder = {
  /** All of `*.wasm` but hidden files, by name. Fails as unavailable where the folder cannot be read. */
  list(): Promise<readonly Tool[]>;
  /** null: there is no such file. */
  find(name: string): Promise<Tool | null>;
  /** Prepares the tool's file anew at the next question. */
  forget(name: string): void;
  close(): void;
};

type FolderOptions = {
  readonly path: string;
  readonly defaults: ToolLimits;
  readonly prepare: (path: string) => Promise<Preparation>;
  readonly clock: Clock;
  readonly log: Log;
};

const extension = ".wasm";
const namePattern = /^[A-Za-z0-9_-]+$/;

const isToolName = (name: string): boolean =>
  name.length <= sandboxLimits.toolNameCharsMax && namePattern.test(name);

/** Whether an error says that a file is not there. */
const isAbsent = (error: unknown): boolean =>
  error instanceof Error &&
  "code" in error &&
  (error.code === "ENOENT" || error.code === "ENOTDIR");

/** A file of the folder as it is at a moment: `stamp` differs as soon as its content may. */
type Place =
  | {
      readonly path: string;
      readonly stamp: string;
      readonly sizeBytes: number;
      readonly problem: null;
    }
  | { readonly stamp: string; readonly sizeBytes: number; readonly problem: string };

/** Where a file of the folder really is; null: it is not there. */
const locate = async (folder: string, fileName: string): Promise<Place | null> => {
  try {
    const path = await realpath(join(folder, fileName));
    const root = await realpath(folder);
    if (!path.startsWith(root.endsWith(sep) ? root : root + sep)) {
      const problem = "it is a link that leads out of the tools folder";
      return { stamp: `out ${path}`, sizeBytes: 0, problem };
    }
    const stats = await stat(path, { bigint: true });
    const sizeBytes = Number(stats.size);
    const stamp = [path, stats.dev, stats.ino, stats.size, stats.mtimeNs, stats.ctimeNs].join(" ");
    if (!stats.isFile()) return { stamp, sizeBytes, problem: "it is not a regular file" };
    return { path, stamp, sizeBytes, problem: null };
  } catch (error) {
    if (isAbsent(error)) return null;
    return { stamp: "", sizeBytes: 0, problem: `it cannot be read: ${messageOf(error)}` };
  }
};

/** A tool's two files at a moment; null: there is no module. */
type Places = { readonly module: Place; readonly described: Place | null; readonly stamp: string };

const locateTool = async (folder: string, name: string): Promise<Places | null> => {
  const [module, described] = await Promise.all([
    locate(folder, name + extension),
    locate(folder, `${name}.json`),
  ]);
  if (module === null) return null;
  return { module, described, stamp: `${module.stamp}\n${described?.stamp ?? "none"}` };
};

const readDescription = async (place: Place): Promise<string> => {
  if (place.problem !== null) throw new Error(place.problem);
  if (place.sizeBytes > moduleLimits.metadataBytesMax) {
    throw new Error(`it is longer than ${moduleLimits.metadataBytesMax} bytes`);
  }
  const file = await open(place.path);
  try {
    const bytes = new Uint8Array(moduleLimits.metadataBytesMax);
    const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
    return new TextDecoder().decode(bytes.subarray(0, bytesRead));
  } finally {
    await file.close();
  }
};

/** What the tool says of itself: the file beside it, for its operator can change that, before what is built into it. */
const describe = async (
  name: string,
  beside: Place | null,
  built: string | null,
): Promise<ToolMetadata | string> => {
  if (beside !== null) {
    try {
      return parseMetadata(await readDescription(beside), `${name}.json`);
    } catch (error) {
      return `the tool's description in ${name}.json cannot be used: ${messageOf(error)}`;
    }
  }
  return built === null ? noMetadata : parseMetadata(built, "its section engram.tool");
};

const unusable = (name: string, sizeBytes: number, error: string, limits: ToolLimits): Tool => ({
  file: { name, ...noMetadata, sha256: "", sizeBytes, limits, error },
  info: null,
});

/** A file as it was found, and whether that holds until its stamp changes. */
type Found = { readonly tool: Tool; readonly isLasting: boolean };

const lookAt = async (name: string, places: Places, options: FolderOptions): Promise<Found> => {
  const { module, described } = places;
  const refuse = (why: string, isLasting: boolean): Found => ({
    tool: unusable(name, module.sizeBytes, why, resolveLimits(options.defaults)),
    isLasting,
  });
  const thatFile = `${name}${extension} cannot be used:`;
  if (!isToolName(name)) {
    const rule = `at most ${sandboxLimits.toolNameCharsMax} letters, digits, _ and -`;
    return refuse(`${thatFile} a tool's name is ${rule}; rename it`, true);
  }
  if (module.problem !== null) return refuse(`${thatFile} ${module.problem}`, true);
  if (module.sizeBytes > moduleLimits.bytesMax) {
    const size = `it has ${module.sizeBytes} bytes, the limit is ${moduleLimits.bytesMax}`;
    return refuse(`${thatFile} ${size}`, true);
  }
  const prepared = await options.prepare(module.path);
  if ("problem" in prepared) return refuse(`${thatFile} ${prepared.problem}`, prepared.isLasting);
  const { sha256, sizeBytes, info } = prepared;
  const found = await describe(name, described, info?.toolSection ?? null);
  const metadata = typeof found === "string" ? noMetadata : found;
  const wrong = typeof found === "string" ? found : null;
  const error = prepared.error === null ? wrong : `${thatFile} ${prepared.error}`;
  const limits = resolveLimits(metadata.limits, options.defaults);
  return {
    tool: { file: { name, ...metadata, sha256, sizeBytes, limits, error }, info },
    isLasting: true,
  };
};

/** Looks at a tool until it did not change meanwhile: a file that is being written is not what it will be. */
const lookUntilStable = async (
  name: string,
  first: Places,
  options: FolderOptions,
): Promise<Found & { readonly stamp: string }> => {
  let places = first;
  for (let attempt = 1; ; attempt++) {
    const found = await lookAt(name, places, options);
    const now = await locateTool(options.path, name);
    const isStable = now?.stamp === places.stamp;
    if (isStable || now === null || attempt === sandboxLimits.readAttemptsMax) {
      return { ...found, isLasting: found.isLasting && isStable, stamp: places.stamp };
    }
    places = now;
  }
};

const namesIn = async (path: string, log: Log): Promise<readonly string[]> => {
  let files: readonly string[];
  try {
    files = await readdir(path);
  } catch (error) {
    if (isAbsent(error)) return [];
    const message = `the tools folder ${path} cannot be read: ${messageOf(error)}`;
    throw new EngramError("unavailable", message, { cause: error });
  }
  const names = files
    .filter((file) => file.endsWith(extension) && !file.startsWith("."))
    .map((file) => file.slice(0, -extension.length))
    .toSorted();
  const { toolFilesMax } = sandboxLimits;
  if (names.length > toolFilesMax) {
    log("warn", `the tools folder holds more than ${toolFilesMax} tools; the rest is not used`);
  }
  return names.slice(0, toolFilesMax);
};

const openWatcher = (options: FolderOptions, onHint: () => void): (() => void) => {
  let cancel = (): void => undefined;
  const hint = (): void => {
    cancel();
    cancel = options.clock.after(sandboxLimits.watchDelayMs, onHint);
  };
  let watcher: FSWatcher | null = null;
  try {
    watcher = watch(options.path, { persistent: false }, hint);
    watcher.on("error", (error) =>
      options.log("debug", "the tools folder is not watched any more", { error: messageOf(error) }),
    );
  } catch (error) {
    options.log("debug", "the tools folder is not watched", { error: messageOf(error) });
  }
  return () => {
    cancel();
    watcher?.close();
  };
};

/** Opens the folder, which need not be there (yet). */
export const openFolder = (options: FolderOptions): Folder => {
  const known = new Map<string, { readonly stamp: string; readonly tool: Promise<Tool> }>();

  const look = (name: string, places: Places): Promise<Tool> => {
    const looking = lookUntilStable(name, places, options);
    const entry = { stamp: places.stamp, tool: looking.then(({ tool }) => tool) };
    known.set(name, entry);
    const settle = (
      result: { readonly isLasting: boolean; readonly stamp: string } | null,
    ): void => {
      if (known.get(name) !== entry) return;
      if (result?.isLasting === true) known.set(name, { stamp: result.stamp, tool: entry.tool });
      else known.delete(name);
    };
    looking.then(settle, () => settle(null));
    return entry.tool;
  };

  const find = async (name: string): Promise<Tool | null> => {
    const places = await locateTool(options.path, name);
    if (places === null) {
      known.delete(name);
      return null;
    }
    const entry = known.get(name);
    return entry?.stamp === places.stamp ? entry.tool : look(name, places);
  };

  const list = async (): Promise<readonly Tool[]> => {
    const names = await namesIn(options.path, options.log);
    const tools = await Promise.all(names.map(find));
    return tools.filter((tool) => tool !== null);
  };

  const closeWatcher = openWatcher(options, () => {
    list().catch((error: unknown) =>
      options.log("debug", "the tools folder was not looked at", { error: messageOf(error) }),
    );
  });

  return {
    list,
    find: async (name) => (isToolName(name) ? find(name) : null),
    forget: (name) => known.delete(name),
    close: closeWatcher,
  };
};
