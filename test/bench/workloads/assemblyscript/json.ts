const text =
  '{"name":"engram \\"agent\\"","vals":[1,22,-333,4.5e10,true,false,null],' +
  '"nested":{"a":{"b":[{"c":"d"}]}}},';

function isOfNumber(c: u8): bool {
  return (c >= 0x30 && c <= 0x39) || c == 0x2e || c == 0x65 || c == 0x2b || c == 0x2d;
}

/** Scans the same text n times for strings, numbers and depth: a state machine over bytes. */
export function json(n: i32): i32 {
  const length = text.length;
  const bytes = new StaticArray<u8>(length);
  for (let i = 0; i < length; i++) unchecked((bytes[i] = <u8>text.charCodeAt(i)));
  let depth = 0,
    depthMax = 0,
    strings = 0,
    numbers = 0;
  for (let round = 0; round < n; round++) {
    let at = 0;
    while (at < length) {
      const c = unchecked(bytes[at++]);
      switch (c) {
        case 0x22:
          while (at < length) {
            const d = unchecked(bytes[at++]);
            if (d == 0x5c) at++;
            else if (d == 0x22) break;
          }
          strings++;
          break;
        case 0x7b:
        case 0x5b:
          if (++depth > depthMax) depthMax = depth;
          break;
        case 0x7d:
        case 0x5d:
          depth--;
          break;
        case 0x2d:
        case 0x30:
        case 0x31:
        case 0x32:
        case 0x33:
        case 0x34:
        case 0x35:
        case 0x36:
        case 0x37:
        case 0x38:
        case 0x39:
          numbers++;
          while (at < length && isOfNumber(unchecked(bytes[at]))) at++;
          break;
        default:
          break;
      }
    }
  }
  return strings * 1000003 + numbers * 31 + depthMax;
}
