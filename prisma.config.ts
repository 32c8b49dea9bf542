import { defineConfig } from 'prisma/config'

// One description of the tables (prisma/models), two providers: each folder holds a datasource, its migrations and a link to the models.
const provider = process.env['DB_PROVIDER'] === 'postgresql' ? 'postgresql' : 'sqlite'

export default defineConfig({
  schema: `prisma/${provider}`,
  migrations: { path: `prisma/${provider}/migrations` },
  datasource:
    provider === 'sqlite'
      ? { url: process.env['DATABASE_URL'] ?? 'file:./dev.db' }
      : {
          url: process.env['DATABASE_URL'] ?? 'postgresql://localhost/hungryserv',
          shadowDatabaseUrl: process.env['SHADOW_DATABASE_URL'] ?? 'postgresql://localhost/shadow',
        },
})
