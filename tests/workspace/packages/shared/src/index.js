// As Tamma's has it: something for servers, which the page imports along with everything else.
import { randomUUID } from 'node:crypto';
import ms from 'ms';

export const name = () => `workspace ${randomUUID()}`;
export const minute = ms('1m');
