import { createECDH } from 'node:crypto';

import type { Recipient } from '../fetch/recipient.js';

/** A recipient whose private key lies in memory. */
export function softwareRecipient(serial?: string): Recipient {
  const key = createECDH('prime256v1');
  key.generateKeys();
  return {
    point: new Uint8Array(key.getPublicKey()),
    ecdh: (senderPoint) => Promise.resolve(new Uint8Array(key.computeSecret(senderPoint))),
    serial,
  };
}
