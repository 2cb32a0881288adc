import { isUtf8 } from "node:buffer";
import type { DescMessage } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { requestLimits } from "../limits.ts";
import type { AskedJson } from "./asked-json.ts";
import { flaggedFrameOf, makeFrames } from "./frames.ts";
import { makeGathered } from "./gathered.ts";
import type { Intake } from "./intake.ts";
import { makeValueCount, mustHaveFewFields, mustHaveFewValues } from "./parts.ts";
import { roomLimits } from "./room-limits.ts";
import type { Share } from "./room.ts";
import type { Unzip } from "./unzip.ts";

type Form = {
  readonly type: DescMessage;
  readonly isJson: boolean;
  /** Where each message has a head that says whether it is zipped; else the body is one message. */
  readonly isFramed: boolean;
  readonly isZipped: boolean;
};

type Means = {
  readonly share: Share;
  readonly unzip: Unzip;
  readonly intake: Intake;
  /** Called when a message has come. */
  readonly came: () => void;
  readonly asked: AskedJson;
};

const zippedFlag = 1;

/**
 * A request's body, unzipped, of which each message is looked at before it is passed on: RESOURCE_EXHAUSTED where one has
 * too many parts, unzips to too much, or finds no room.
 */
export function vetted(
  body: AsyncIterable<Uint8Array>,
  form: Form,
  means: Means,
): AsyncIterable<Uint8Array> {
  return form.isFramed ? frames(body, form, means) : whole(body, form, means);
}

function look(
  { type, isJson }: Form,
  message: Uint8Array,
  asked: AskedJson,
  countValues = mustHaveFewValues,
): void {
  if (!isJson) {
    mustHaveFewFields(type, message);
    return;
  }
  countValues(message);
  // Its reader would put other characters in the place of what is none.
  if (!isUtf8(message))
    throw new ConnectError("the request message is not valid UTF-8", Code.InvalidArgument);
  asked.is(message);
}

async function* frames(
  body: AsyncIterable<Uint8Array>,
  form: Form,
  { share, unzip, intake, came, asked }: Means,
): AsyncGenerator<Uint8Array> {
  const found = makeFrames();
  for await (const chunk of body) {
    found.add(chunk);
    const held = found.rest().length;
    share.set(held);
    if (held > roomLimits.smallBytes) await intake.took(chunk.length);
    for (let frame = found.take(); frame !== null; frame = found.take()) {
      came();
      const isZipped = (frame.flags & zippedFlag) !== 0;
      if (isZipped && !form.isZipped) {
        // It is the reader who refuses it.
        yield frame.bytes;
        continue;
      }
      const message = isZipped ? await unzip(frame.message, share) : frame.message;
      share.set(found.rest().length + message.length);
      look(form, message, asked);
      yield isZipped ? flaggedFrameOf(frame.flags & ~zippedFlag, message) : frame.bytes;
      // Who asks for the next has parsed it.
      asked.is(null);
    }
  }
  yield found.rest();
}

async function* whole(
  body: AsyncIterable<Uint8Array>,
  form: Form,
  { share, unzip, intake, came, asked }: Means,
): AsyncGenerator<Uint8Array> {
  const found = makeGathered();
  const countValues = makeValueCount();
  for await (const chunk of body) {
    found.add(chunk);
    const all = found.all();
    share.set(all.length);
    // The reader has the same limit, and words for it.
    if (all.length > requestLimits.messageBytesMax) break;
    // What is refused for them need not come to its end.
    if (form.isJson && !form.isZipped) countValues(all);
    if (all.length > roomLimits.smallBytes) await intake.took(chunk.length);
  }
  const all = found.all();
  if (all.length > requestLimits.messageBytesMax) {
    yield all;
    return;
  }
  came();
  const message = form.isZipped ? await unzip(all, share) : all;
  share.set(message.length);
  look(form, message, asked, countValues);
  yield message;
}
