import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { EngramError, messageOf } from "../../errors.ts";
import { fleetLimits, tortureLimits } from "./torture-limits.ts";

export type TortureOptions = {
  readonly minutes: number;
  readonly agents: number;
  /** Ends earlier after so many; of a fleet, faults of every kind. */
  readonly kills: number;
  readonly seed: number;
  readonly toolsPath: string;
  /** Over a Redis of its own; null: one engine with SQLite. */
  readonly fleet: FleetOptions | null;
};

export type FleetOptions = {
  readonly engines: number;
  /** A Cluster, not one server. */
  readonly isCluster: boolean;
  /** The program, as it is called. */
  readonly redisServer: string;
};

const usage =
  "usage: engram torture [--minutes N] [--agents M] [--kills K] [--seed S] [--tools-path DIR] " +
  "[--engines N] [--store sqlite|redis|cluster] [--redis-server PATH]";

const bad = (message: string): EngramError =>
  new EngramError("invalid_argument", `${message}; ${usage}`);

const names = [
  "minutes",
  "agents",
  "kills",
  "seed",
  "tools-path",
  "engines",
  "store",
  "redis-server",
] as const;

type Values = Readonly<Partial<Record<(typeof names)[number], string>>>;

function parse(args: readonly string[]): Values {
  const options = Object.fromEntries(names.map((name) => [name, { type: "string" as const }]));
  try {
    const { values } = parseArgs({ args: [...args], options, strict: true });
    return Object.fromEntries(
      Object.entries(values).flatMap(([name, value]) =>
        typeof value === "string" ? [[name, value]] : [],
      ),
    );
  } catch (cause) {
    throw new EngramError("invalid_argument", `${messageOf(cause)}; ${usage}`, { cause });
  }
}

/** The options of a command line. Fails with invalid_argument. */
export function tortureOptions(args: readonly string[]): TortureOptions {
  const values = parse(args);
  const { minutesMax, agentsMax, killsMax } = tortureLimits;
  const number = (
    name: "minutes" | "agents" | "kills" | "seed" | "engines",
    otherwise: number,
    max: number,
  ): number => {
    const given = values[name];
    if (given === undefined) return otherwise;
    const parsed = (name === "minutes" ? /^\d{1,6}(\.\d{1,6})?$/ : /^\d{1,10}$/).test(given)
      ? Number(given)
      : Number.NaN;
    if ((parsed > 0 || name === "seed") && parsed <= max) return parsed;
    throw bad(`--${name} is ${JSON.stringify(given)}: it must be a number up to ${max}`);
  };
  const engines = number("engines", 1, fleetLimits.enginesMax);
  return {
    minutes: number("minutes", values.kills === undefined ? 1 : minutesMax, minutesMax),
    agents: number("agents", 20, agentsMax),
    kills: number("kills", killsMax, killsMax),
    seed: number("seed", crypto.getRandomValues(new Uint32Array(1))[0] ?? 0, 2 ** 32 - 1),
    toolsPath: pathOf(values),
    fleet: fleetOf(values, engines),
  };
}

function pathOf(values: Values): string {
  const toolsPath = resolve(values["tools-path"] ?? process.env["TOOLS_PATH"] ?? "tools");
  if (values["tools-path"] !== undefined && !existsSync(toolsPath))
    throw new EngramError(
      "invalid_argument",
      `--tools-path is ${JSON.stringify(toolsPath)}, which is not there`,
    );
  return toolsPath;
}

function fleetOf(values: Values, engines: number): FleetOptions | null {
  const { store = engines > 1 ? "redis" : "sqlite", "redis-server": given } = values;
  if (store !== "sqlite" && store !== "redis" && store !== "cluster")
    throw bad(`--store is ${JSON.stringify(store)}: it must be sqlite, redis or cluster`);
  if (store === "sqlite") {
    if (engines > 1)
      throw bad("--store is sqlite, which one engine has for itself: use redis or cluster");
    if (given !== undefined)
      throw bad("--redis-server goes with --store redis, --store cluster or --engines");
    return null;
  }
  const redisServer = Bun.which(given ?? "redis-server");
  if (redisServer !== null) return { engines, isCluster: store === "cluster", redisServer };
  if (given !== undefined)
    throw bad(`--redis-server is ${JSON.stringify(given)}, which is no program that can be run`);
  throw new EngramError(
    "failed_precondition",
    "redis-server is not installed, and the engines are to share one: install it " +
      "(apt-get install redis-server, brew install redis), or name it with --redis-server PATH",
  );
}
