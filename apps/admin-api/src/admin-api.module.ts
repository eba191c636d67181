import { type DynamicModule, Module, type Provider } from '@nestjs/common';
import { KeyVault } from '@azaion/crypto';
import { AccessTokenIssuer, JwksSource, JwksTokenVerifier, TokenVerifier } from '@azaion/identity';
import { Clock } from '@azaion/kernel';
import { HealthModule } from '@azaion/nest-support';
import { ObjectStore } from '@azaion/split-resource';

import { AuditChain } from './audit/audit-chain.js';
import { AuditLog } from './audit/audit-log.js';
import { ReadAudit } from './audit/read-audit.js';
import { AdminConfig } from './config.js';
import { DesiredOfDevice } from './desired/desired-of-device.js';
import { RecordReport } from './desired/record-report.js';
import { SetDesired } from './desired/set-desired.js';
import { readAttestationRules } from './devices/attestation-rules.js';
import { EnrolDevice } from './devices/enrol-device.js';
import { LogInDevice } from './devices/log-in-device.js';
import { ManageDevices } from './devices/manage-devices.js';
import { RegisterDevice } from './devices/register-device.js';
import { ManageGroups } from './groups/manage-groups.js';
import { DesiredController } from './http/desired.controller.js';
import { AuditController } from './http/audit.controller.js';
import { DevicesController } from './http/devices.controller.js';
import { FoldersController } from './http/folders.controller.js';
import { GrantsController } from './http/grants.controller.js';
import { GroupsController } from './http/groups.controller.js';
import { KeyFragmentsController, LegacyResourcesController } from './http/legacy.controller.js';
import { LoginController } from './http/login.controller.js';
import { ObjectsController } from './http/objects.controller.js';
import { OwnStatementKeysController, StatementKeysController } from './http/statement-keys.controller.js';
import { UploadsController } from './http/uploads.controller.js';
import { UsersController } from './http/users.controller.js';
import { VersionsController } from './http/versions.controller.js';
import type { Infrastructure } from './infrastructure.js';
import { OwnJwks } from './keys/own-jwks.js';
import { ServiceSecrets } from './keys/service-secrets.js';
import { SigningKeys } from './keys/signing-keys.js';
import { StatementAuthority } from './keys/statement-authority.js';
import { TrustedStatements } from './keys/trusted-statements.js';
import { TokenKeys } from './keys/token-keys.js';
import { FetchLegacyFile } from './legacy/fetch-legacy-file.js';
import { KeyFragments } from './legacy/key-fragments.js';
import { LegacyFiles, MAX_LEGACY_FILE_BYTES } from './legacy/legacy-files.js';
import { Housekeeping } from './persistence/housekeeping.js';
import { Database } from './persistence/database.js';
import { CollectPacks } from './sealed/collect-packs.js';
import { CompactPacks } from './sealed/compact-packs.js';
import { CommitUpload } from './sealed/commit-upload.js';
import { CurrentStanding } from './sealed/current-standing.js';
import { DraftLimits } from './sealed/draft-limits.js';
import { FolderQuota } from './sealed/folder-quota.js';
import { FolderPolicies } from './sealed/folder-policies.js';
import { Folders } from './sealed/folders.js';
import { GrantForDevices } from './sealed/grant-for-devices.js';
import { GrantResource } from './sealed/grant-resource.js';
import { Packs } from './sealed/packs.js';
import { ManageVersions } from './sealed/manage-versions.js';
import { ReadCatalogue } from './sealed/read-catalogue.js';
import { ReportBadChunk } from './sealed/report-bad-chunk.js';
import { Uploads } from './sealed/uploads.js';
import { VerifyVersions } from './sealed/verify-versions.js';
import { LogIn } from './tokens/log-in.js';
import { LoginLimits } from './tokens/login-limits.js';
import { PasswordCosts } from './tokens/password-costs.js';
import { PasswordHasher } from './tokens/password-hasher.js';
import { Sessions } from './tokens/sessions.js';
import { BootstrapAdministrator } from './users/bootstrap-administrator.js';
import { CreateUser } from './users/create-user.js';
import { ListUsers } from './users/list-users.js';
import { ManageUsers } from './users/manage-users.js';

/** The composition root: what the use cases are made of. */
@Module({})
export class AdminApiModule {
  static register(config: AdminConfig, infrastructure: Infrastructure): DynamicModule {
    return {
      module: AdminApiModule,
      imports: [
        HealthModule.register({
          useFactory: () => ({
            ready: [
              { name: 'database', check: () => infrastructure.database.check() },
              { name: 'object-store', check: () => infrastructure.objects.check() },
            ],
            intervalMs: 2_000,
          }),
        }),
      ],
      controllers: [
        LoginController,
        UsersController,
        DevicesController,
        DesiredController,
        GroupsController,
        UploadsController,
        GrantsController,
        VersionsController,
        FoldersController,
        AuditController,
        LegacyResourcesController,
        KeyFragmentsController,
        StatementKeysController,
        OwnStatementKeysController,
        ObjectsController,
      ],
      providers: [...given(config, infrastructure), ...keys(config, infrastructure), ...useCases(config)],
    };
  }
}

function given(config: AdminConfig, infrastructure: Infrastructure): Provider[] {
  return [
    { provide: AdminConfig, useValue: config },
    { provide: Database, useValue: infrastructure.database },
    { provide: KeyVault, useValue: infrastructure.vault },
    { provide: ObjectStore, useValue: infrastructure.objects },
    { provide: Clock, useValue: infrastructure.clock },
  ];
}

function keys(config: AdminConfig, infrastructure: Infrastructure): Provider[] {
  return [
    made(AuditLog, [Clock]),
    made(AuditChain, [Database]),
    made(ReadAudit, [Database]),
    made(ServiceSecrets, [Database, KeyVault]),
    made(SigningKeys, [Database, KeyVault, Clock]),
    {
      provide: StatementAuthority,
      inject: [SigningKeys, Database, AuditLog, Clock],
      useFactory: (signing: SigningKeys, database: Database, audit: AuditLog, clock: Clock) =>
        new StatementAuthority(signing, database, audit, clock, infrastructure.offlineRoot),
    },
    made(TrustedStatements, [Database, SigningKeys, StatementAuthority, AuditLog]),
    {
      provide: TokenKeys,
      inject: [Database, SigningKeys, AuditLog, Clock],
      useFactory: (...given: Given<typeof TokenKeys>) => new TokenKeys(...given, config.accessTokenSeconds),
    },
    made(OwnJwks, [TokenKeys]),
    { provide: JwksSource, useExisting: OwnJwks },
    {
      provide: TokenVerifier,
      inject: [JwksSource, Clock],
      useFactory: (source: JwksSource, clock: Clock) =>
        new JwksTokenVerifier(source, clock, { issuer: config.issuer, audience: config.audience }),
    },
    {
      provide: AccessTokenIssuer,
      inject: [TokenKeys, Clock],
      useFactory: (keys: TokenKeys, clock: Clock) =>
        new AccessTokenIssuer(() => keys.signing(), clock, {
          issuer: config.issuer,
          audience: config.audience,
          lifetimeSeconds: config.accessTokenSeconds,
        }),
    },
  ];
}

function useCases(config: AdminConfig): Provider[] {
  return [
    {
      provide: PasswordHasher,
      inject: [ServiceSecrets],
      useFactory: (secrets: ServiceSecrets) =>
        new PasswordHasher(secrets, { memoryKib: config.passwordHashMemoryKib, passes: config.passwordHashPasses }),
    },
    made(PasswordCosts, [Database, PasswordHasher]),
    {
      provide: LoginLimits,
      inject: [Database, Clock],
      useFactory: (database: Database, clock: Clock) =>
        new LoginLimits(database, clock, {
          perAddress: config.loginAttemptsPerAddress,
          perAccount: config.loginAttemptsPerAccount,
          failuresUntilLock: config.loginFailuresUntilLock,
        }),
    },
    {
      provide: Sessions,
      inject: [Database, AccessTokenIssuer, Clock, LoginLimits, AuditLog],
      useFactory: (database: Database, issuer: AccessTokenIssuer, clock: Clock, limits: LoginLimits, audit: AuditLog) =>
        new Sessions(
          database,
          issuer,
          clock,
          { refreshSeconds: config.refreshTokenSeconds, sessionSeconds: config.sessionSeconds },
          limits,
          audit,
        ),
    },
    {
      provide: LogIn,
      inject: [Database, PasswordHasher, LoginLimits, Sessions, AuditLog, Clock],
      useFactory: (...given: Given<typeof LogIn>) => new LogIn(...given, { legacyErrors: config.legacyLoginErrors }),
    },
    made(CreateUser, [Database, PasswordHasher, AuditLog, Clock]),
    made(ListUsers, [Database]),
    made(ManageUsers, [Database, PasswordHasher, LogIn, Sessions, AuditLog]),
    made(BootstrapAdministrator, [Database, CreateUser, PasswordHasher]),
    made(RegisterDevice, [Database, PasswordHasher, CreateUser, Sessions, AuditLog, Clock]),
    made(ManageDevices, [Database, Sessions, AuditLog]),
    made(ManageGroups, [Database, AuditLog]),
    made(SetDesired, [Database, AuditLog, Clock]),
    made(DesiredOfDevice, [Database, Clock]),
    made(RecordReport, [Database, Clock]),
    {
      provide: EnrolDevice,
      inject: [Database, KeyVault, LogIn, Sessions, AuditLog, Clock],
      useFactory: (
        database: Database,
        vault: KeyVault,
        logIn: LogIn,
        sessions: Sessions,
        audit: AuditLog,
        clock: Clock,
      ) => new EnrolDevice(database, vault, logIn, sessions, audit, clock, readAttestationRules(config)),
    },
    {
      provide: LogInDevice,
      inject: [Database, LoginLimits, Sessions, AuditLog, Clock],
      useFactory: (database: Database, limits: LoginLimits, sessions: Sessions, audit: AuditLog, clock: Clock) =>
        new LogInDevice(database, limits, sessions, audit, clock, config.audience),
    },
    made(CurrentStanding, [Database, TokenVerifier, Clock]),
    made(FolderPolicies, [Database, AuditLog, Clock]),
    made(Folders, [Database, KeyVault, FolderPolicies, AuditLog, Clock]),
    made(Uploads, [Database, Folders, DraftLimits, AuditLog, ObjectStore, Clock]),
    made(FolderQuota, [Database, FolderPolicies]),
    {
      provide: DraftLimits,
      inject: [Database, Clock],
      useFactory: (database: Database, clock: Clock) =>
        new DraftLimits(database, clock, { uploads: config.draftMaxUploads, bytes: config.draftMaxBytes }),
    },
    made(Packs, [Database, Uploads, FolderQuota, DraftLimits, ObjectStore, Clock]),
    made(CommitUpload, [
      Database,
      Uploads,
      Folders,
      Packs,
      FolderQuota,
      KeyVault,
      ServiceSecrets,
      StatementAuthority,
      AuditLog,
      Clock,
    ]),
    made(GrantResource, [
      Database,
      Folders,
      ObjectStore,
      KeyVault,
      StatementAuthority,
      TrustedStatements,
      AuditLog,
      Clock,
    ]),
    made(GrantForDevices, [Database, GrantResource]),
    made(ReadCatalogue, [Database, Folders]),
    made(ManageVersions, [Database, StatementAuthority, TrustedStatements, AuditLog]),
    made(ReportBadChunk, [Database, Folders, Clock]),
    made(CollectPacks, [Database, ObjectStore, Clock]),
    made(CompactPacks, [Database, ObjectStore, KeyVault, Clock]),
    made(VerifyVersions, [Database, ObjectStore, KeyVault, AuditLog, Clock]),
    {
      provide: LegacyFiles,
      inject: [Database, KeyVault, FolderQuota, AuditLog, Clock],
      useFactory: (...given: Given<typeof LegacyFiles>) =>
        new LegacyFiles(...given, { fileBytes: MAX_LEGACY_FILE_BYTES, deviceBytes: config.legacyDeviceMaxBytes }),
    },
    made(FetchLegacyFile, [Database, LogIn, LegacyFiles, AuditLog]),
    made(KeyFragments, [Database, KeyVault, AuditLog, Clock]),
    made(Housekeeping, [Database, LoginLimits, Sessions, TokenKeys, LegacyFiles, PasswordCosts, Clock]),
  ];
}

/** What a constructor takes before its last parameter. */
type Given<Type extends abstract new (...parameters: never[]) => unknown> =
  ConstructorParameters<Type> extends [...infer Head, unknown] ? Head : never;

type Token = abstract new (...dependencies: never[]) => unknown;

/** A plain class whose constructor takes just what is listed, in that order. */
function made<Dependencies extends unknown[]>(
  provide: new (...dependencies: Dependencies) => unknown,
  inject: { readonly [Index in keyof Dependencies]: Token },
): Provider {
  return {
    provide,
    inject: [...inject] as never[],
    useFactory: (...dependencies: Dependencies) => new provide(...dependencies),
  };
}
