import { textOf } from "../../store/redis/values.ts";
import { askingAt } from "./redis-process.ts";

/** A server as another knows it. */
export type Known = {
  readonly id: string;
  readonly port: number;
  /** Of its master; null: it is one. */
  readonly masterId: string | null;
  /** From and to, both included. */
  readonly slots: readonly (readonly [number, number])[];
  /** Nobody misses it, and it is not being met just now. */
  readonly isWell: boolean;
};

/** The Cluster as one of its servers sees it. */
export type View = {
  /** It serves all slots. */
  readonly isServing: boolean;
  readonly known: readonly Known[];
  /** As a replica: its master sends it all that happens. */
  readonly isFollowing: boolean;
  /** What a master has written, and a replica taken, counted from the beginning. */
  readonly offset: number;
};

/** Asks a server. Fails where it does not answer. */
export async function viewOf(url: string): Promise<View> {
  const { ask, end } = await askingAt(url);
  try {
    const said = [ask("CLUSTER", "INFO"), ask("CLUSTER", "NODES"), ask("INFO", "replication")];
    const [state = "", nodes = "", replication = ""] = (await Promise.all(said)).map(textOf);
    return {
      isServing: state.includes("cluster_state:ok"),
      known: knownIn(nodes),
      isFollowing:
        replication.includes("master_link_status:up") &&
        replication.includes("master_sync_in_progress:0"),
      offset: Number(/^(?:slave|master)_repl_offset:(\d+)/m.exec(replication)?.[1]),
    };
  } finally {
    end();
  }
}

/** What CLUSTER NODES answers: "ID IP:PORT@BUS FLAGS MASTER PING PONG EPOCH LINK SLOTS...". */
export const knownIn = (nodes: string): readonly Known[] =>
  nodes
    .trim()
    .split("\n")
    .map((line) => {
      const [id = "", address = "", flags = "", master = "", , , , , ...slots] = line.split(" ");
      return {
        id,
        port: Number(/:(\d+)@/.exec(address)?.[1]),
        masterId: master === "-" ? null : master,
        // Slots on their way stand in brackets.
        slots: slots.flatMap((range) => {
          const [from = "", to = from] = range.split("-");
          return /^\d+$/.test(from) ? [[Number(from), Number(to)] as const] : [];
        }),
        isWell: !/fail|handshake|noaddr/.test(flags),
      };
    });

/** The port of the master of a slot; null: nobody is. */
export const ownerIn = (known: readonly Known[], slot: number): number | null =>
  known.find(({ slots }) => slots.some(([from, to]) => from <= slot && slot <= to))?.port ?? null;

/** Of each master with slots that has one replica, both as the views know them; null: the views differ, or somebody is missing. */
export function pairsIn(
  views: readonly View[],
): readonly { readonly master: Known; readonly replica: Known }[] | null {
  const [first] = views;
  if (first === undefined || !views.every((view) => isAsWell(view, first))) return null;
  const masters = first.known.filter(({ masterId }) => masterId === null);
  const pairs = masters.flatMap((master) => {
    const [replica, ...more] = first.known.filter(({ masterId }) => masterId === master.id);
    return replica === undefined || more.length > 0 || master.slots.length === 0
      ? []
      : [{ master, replica }];
  });
  return 2 * pairs.length === views.length ? pairs : null;
}

const isAsWell = (view: View, first: View): boolean =>
  view.isServing &&
  view.known.every(({ isWell }) => isWell) &&
  shapeOf(view) === shapeOf(first) &&
  view.known.length === first.known.length;

const shapeOf = ({ known }: View): string =>
  known
    .map(({ id, masterId, slots }) => `${id} ${masterId} ${slots.join(" ")}`)
    .toSorted()
    .join("\n");
