import { EngramError, messageOf } from "../../errors.ts";
import { redisLimits } from "../../limits.ts";

/** One server of Redis. */
export type RedisAddress = { readonly host: string; readonly port: number };

/** Where a Redis is and how it lets one in, as REDIS_URL says it. */
export type RedisPlace = {
  /** One server, or some of a Cluster's. */
  readonly addresses: readonly [RedisAddress, ...RedisAddress[]];
  readonly username: string | null;
  readonly password: string | null;
  readonly database: number;
  readonly tls: boolean;
};

const defaultPort = 6379;

/**
 * What REDIS_URL says: `host:port`, `redis://user:password@host:port/database` or `rediss://` for TLS; several of them,
 * comma-separated, are servers of one Cluster. Fails with invalid_argument, never with the password in the message.
 */
export function readRedisUrl(text: string): RedisPlace {
  const parts = text.split(",").map((part) => part.trim());
  if (parts.length > redisLimits.addressesMax)
    throw wrong(`it names more than ${redisLimits.addressesMax} servers`);
  const urls = parts.map((part) => {
    const url = part.includes("://") ? part : `redis://${part}`;
    if (!URL.canParse(url)) throw wrong("it must be host:port, redis://… or rediss://…");
    return new URL(url);
  });
  const [first, ...more] = urls;
  if (first === undefined || urls.some(({ hostname }) => hostname === ""))
    throw wrong("a host is missing");
  if (urls.some(({ protocol }) => protocol !== "redis:" && protocol !== "rediss:"))
    throw wrong("it must begin with redis:// or rediss://, or be host:port");
  // A list may say once, with any of its servers, what holds for all.
  const said = (of: (url: URL) => string): string => urls.map(of).find((it) => it !== "") ?? "";
  const database = said(({ pathname }) => pathname.slice(1));
  if (!/^\d{0,4}$/.test(database)) throw wrong("the database behind the slash must be a number");
  if (more.length > 0 && Number(database) > 0)
    throw wrong("a Redis Cluster has no databases; leave the number behind the slash out");
  return {
    addresses: [addressOf(first), ...more.map(addressOf)],
    username: decoded(said(({ username }) => username)),
    password: decoded(said(({ password }) => password)),
    database: Number(database),
    tls: urls.some(({ protocol }) => protocol === "rediss:"),
  };
}

const wrong = (complaint: string): EngramError =>
  new EngramError("invalid_argument", `REDIS_URL cannot be used: ${complaint}`);

const addressOf = ({ hostname, port }: URL): RedisAddress => ({
  // An IPv6 address stands in brackets only within a URL.
  host: hostname.replace(/^\[(.*)\]$/, "$1"),
  port: port === "" ? defaultPort : Number(port),
});

function decoded(text: string): string | null {
  try {
    return text === "" ? null : decodeURIComponent(text);
  } catch (cause) {
    throw wrong(`its user or password is not percent-encoded (${messageOf(cause)})`);
  }
}

/** An address as operators write it. */
export const nameOf = ({ host, port }: RedisAddress): string =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
