import { type Clock, evenClock, systemClock } from "../../src/clock.ts";
import { readRedisUrl } from "../../src/store/redis/address.ts";
import type { Formats } from "../../src/store/redis/formats.ts";
import { openRedisStore, type RedisOptions, type RedisStore } from "../../src/store/redis/redis.ts";
import type { Store } from "../../src/store/store.ts";
import { type RedisServer, startCluster, startRedis } from "./redis-server.ts";

/** The servers that most tests share, started by whoever needs them first; they end with the process. */
const shared: { one?: Promise<RedisServer>; cluster?: Promise<readonly RedisServer[]> } = {};

export const sharedRedis = (): Promise<RedisServer> => (shared.one ??= startRedis());
export const sharedCluster = (): Promise<readonly RedisServer[]> =>
  (shared.cluster ??= startCluster());

export const urlOf = (...servers: readonly RedisServer[]): string =>
  servers.map(({ port }) => `127.0.0.1:${port}`).join(",");

/** The beginning of keys that are nobody else's. */
export const ownPrefix = (): string => `test-${crypto.randomUUID()}:`;

export const openAt = (
  url: string,
  prefix: string,
  over: Partial<RedisOptions> = {},
  formats?: Formats,
): Promise<RedisStore> =>
  openRedisStore(
    {
      place: readRedisUrl(url),
      ca: null,
      prefix,
      replicas: 0,
      worker: crypto.randomUUID(),
      clock: systemClock,
      log: () => {},
      ...over,
    },
    formats,
  );

/** A place for stores on shared servers. */
export function redisFixture(
  servers: () => Promise<readonly RedisServer[]>,
  clock: Clock = systemClock,
): { readonly open: () => Store; readonly drop: () => void } {
  const prefix = ownPrefix();
  return {
    open: () =>
      whenOpen(
        servers().then((found) => openAt(urlOf(...found), prefix, { clock })),
        clock,
      ),
    drop: () => undefined,
  };
}

/** A store that is still being opened: its calls wait for that. */
function whenOpen(opening: Promise<Store>, clock: Clock): Store {
  let opened: Store | null = null;
  const early = evenClock(clock);
  const ready = opening.then((store) => (opened = store));
  ready.catch(() => undefined); // Each call fails with it.
  const late =
    <A extends readonly unknown[], R>(of: (store: Store) => (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> =>
      of(opened ?? (await ready))(...args);
  const following =
    <A extends readonly unknown[]>(of: (store: Store) => (...args: A) => () => void) =>
    (...args: A): (() => void) => {
      if (opened !== null) return of(opened)(...args);
      let ended = false;
      let end = (): void => void (ended = true);
      const begin = async (): Promise<void> => {
        const store = await ready;
        if (!ended) end = of(store)(...args);
      };
      begin().catch(() => undefined);
      return () => end();
    };
  return {
    nowMs: () => (opened === null ? early() : opened.nowMs()),
    stage: late((store) => store.stage),
    unstage: late((store) => store.unstage),
    create: late((store) => store.create),
    append: late((store) => store.append),
    read: late((store) => store.read),
    readStored: late((store) => store.readStored),
    made: late((store) => store.made),
    aside: late((store) => store.aside),
    marks: late((store) => store.marks),
    snapshot: late((store) => store.snapshot),
    row: late((store) => store.row),
    list: late((store) => store.list),
    tally: late((store) => store.tally),
    remove: late((store) => store.remove),
    writeDraft: late((store) => store.writeDraft),
    readDraft: late((store) => store.readDraft),
    claim: late((store) => store.claim),
    renew: late((store) => store.renew),
    release: late((store) => store.release),
    nextWakeMs: late((store) => store.nextWakeMs),
    announce: late((store) => store.announce),
    peers: late((store) => store.peers),
    follow: following((store) => store.follow),
    followWakes: following((store) => store.followWakes),
    probe: late((store) => store.probe),
    close: late((store) => store.close),
  };
}
