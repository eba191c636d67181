import { createDecipheriv, hash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';

import { LEGACY_RESOURCE_KEY } from '@azaion/crypto';

/** P3's older design: `node read-whole.js IN OUT` reads a file of the older format as a whole, decrypts it, writes it as a whole. */
const [input = '', output = ''] = process.argv.slice(2);
const whole = readFileSync(input);
const decipher = createDecipheriv('aes-256-cbc', hash('sha256', LEGACY_RESOURCE_KEY, 'buffer'), whole.subarray(0, 16));
writeFileSync(output, Buffer.concat([decipher.update(whole.subarray(16)), decipher.final()]));
