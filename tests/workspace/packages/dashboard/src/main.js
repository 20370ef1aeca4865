import { name } from '@tamma/shared';

const address = import.meta.env.VITE_API_BASE_URL ?? 'http://localhost:3001/api';
document.querySelector('main').textContent = `${name()} asks ${address}/health`;
