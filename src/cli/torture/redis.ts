import { join } from "node:path";
import { type Looks, makeLooks } from "./looks.ts";
import type { Random } from "./random.ts";
import { makeRedisProcess } from "./redis-process.ts";
import { number, type Row } from "./rows.ts";

/** What the engines share, and all that can be made of it to go wrong. */
export type SharedRedis = Looks & {
  /** By which engines find it. */
  readonly settings: Readonly<Record<string, string>>;
  begin(): Promise<void>;
  /** Leaves nothing of it running. */
  stop(): Promise<void>;
  readonly faults: RedisFaults;
};

export type RedisFaults = {
  /** Of all that goes wrong. */
  readonly share: number;
  /** One at a time; each resolves when all is well again. */
  readonly kinds: readonly RedisFault[];
  progress(): string;
  rows(): readonly Row[];
};

/** With its share of them all. */
export type RedisFault = readonly [share: number, run: () => Promise<void>];

export type RedisParts = {
  /** redis-server, as it is called. */
  readonly program: string;
  readonly folder: string;
  readonly random: Random;
  readonly report: (rule: string, detail: string) => void;
  /** Keeps a line of what was done when. */
  readonly note: (line: string) => void;
};

/** One server, with nobody to take its place. */
export function makeOneRedis({ program, folder, random, report, note }: RedisParts): SharedRedis {
  const server = makeRedisProcess({ program, folder: join(folder, "redis"), options: [], report });
  const counts = { kills: 0, freezes: 0 };
  const kill = async (): Promise<void> => {
    counts.kills++;
    note("kill -9 of redis-server");
    await server.kill();
    await Bun.sleep(random.between(0, 1_500));
    await server.begin();
    note("back: redis-server");
  };
  const freeze = async (): Promise<void> => {
    counts.freezes++;
    const forMs = random.between(50, 800);
    note(`SIGSTOP of redis-server for ${forMs} ms`);
    server.freeze();
    await Bun.sleep(forMs);
    server.thaw();
  };
  return {
    settings: { REDIS_URL: server.url },
    begin: server.begin,
    stop: server.kill,
    ...makeLooks(async () => () => server.url),
    faults: {
      share: 0.17,
      kinds: [
        [0.35, kill],
        [0.65, freeze],
      ],
      progress: () => `${counts.kills} kills of Redis`,
      rows: () => [
        ["kills of Redis", number(counts.kills)],
        ["freezes of Redis", number(counts.freezes)],
      ],
    },
  };
}
