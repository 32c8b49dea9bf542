-- AlterTable
ALTER TABLE "device" ADD COLUMN "syncedAt" BIGINT;

-- CreateTable
CREATE TABLE "device_keys" (
    "instance" INTEGER NOT NULL,
    "user" BIGINT NOT NULL,
    "deviceId" TEXT NOT NULL,
    "json" TEXT NOT NULL,
    "position" BIGINT NOT NULL,

    PRIMARY KEY ("instance", "user", "deviceId")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "one_time_key" (
    "instance" INTEGER NOT NULL,
    "user" BIGINT NOT NULL,
    "deviceId" TEXT NOT NULL,
    "keyId" TEXT NOT NULL,
    "algorithm" TEXT NOT NULL,
    "order" BIGINT NOT NULL,
    "json" TEXT NOT NULL,
    "claimedAt" BIGINT,

    PRIMARY KEY ("instance", "user", "deviceId", "keyId")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "fallback_key" (
    "instance" INTEGER NOT NULL,
    "user" BIGINT NOT NULL,
    "deviceId" TEXT NOT NULL,
    "algorithm" TEXT NOT NULL,
    "keyId" TEXT NOT NULL,
    "json" TEXT NOT NULL,
    "used" INTEGER NOT NULL,

    PRIMARY KEY ("instance", "user", "deviceId", "algorithm")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "key_count" (
    "instance" INTEGER NOT NULL,
    "user" BIGINT NOT NULL,
    "deviceId" TEXT NOT NULL,
    "counts" TEXT NOT NULL,
    "unusedFallback" TEXT NOT NULL,
    "appservice" BIGINT,
    "position" BIGINT NOT NULL,

    PRIMARY KEY ("instance", "user", "deviceId")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "cross_signing_key" (
    "instance" INTEGER NOT NULL,
    "user" BIGINT NOT NULL,
    "usage" TEXT NOT NULL,
    "publicKey" TEXT NOT NULL,
    "json" TEXT NOT NULL,
    "position" BIGINT NOT NULL,

    PRIMARY KEY ("instance", "user", "usage")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "signature" (
    "instance" INTEGER NOT NULL,
    "user" BIGINT NOT NULL,
    "target" TEXT NOT NULL,
    "signer" BIGINT NOT NULL,
    "keyId" TEXT NOT NULL,
    "signature" TEXT NOT NULL,
    "position" BIGINT NOT NULL,

    PRIMARY KEY ("instance", "user", "target", "signer", "keyId")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "device_list_change" (
    "instance" INTEGER NOT NULL,
    "user" BIGINT NOT NULL,
    "position" BIGINT NOT NULL,

    PRIMARY KEY ("instance", "user")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "to_device" (
    "instance" INTEGER NOT NULL,
    "user" BIGINT NOT NULL,
    "deviceId" TEXT NOT NULL,
    "position" BIGINT NOT NULL,
    "type" TEXT NOT NULL,
    "sender" TEXT NOT NULL,
    "content" TEXT NOT NULL,
    "createdAt" BIGINT NOT NULL,
    "appservice" BIGINT,

    PRIMARY KEY ("instance", "user", "deviceId", "position")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "dehydrated_device" (
    "instance" INTEGER NOT NULL,
    "user" BIGINT NOT NULL,
    "deviceId" TEXT NOT NULL,
    "deviceData" TEXT NOT NULL,
    "createdAt" BIGINT NOT NULL,

    PRIMARY KEY ("instance", "user")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "backup_version" (
    "instance" INTEGER NOT NULL,
    "user" BIGINT NOT NULL,
    "version" INTEGER NOT NULL,
    "algorithm" TEXT NOT NULL,
    "authData" TEXT NOT NULL,
    "backup" BIGINT NOT NULL,
    "sessions" INTEGER NOT NULL,
    "etag" BIGINT NOT NULL,
    "deleted" INTEGER NOT NULL,
    "createdAt" BIGINT NOT NULL,

    PRIMARY KEY ("instance", "user", "version")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "backup_room" (
    "instance" INTEGER NOT NULL,
    "user" BIGINT NOT NULL,
    "backup" BIGINT NOT NULL,
    "roomId" TEXT NOT NULL,
    "key" BIGINT NOT NULL,
    "sessions" INTEGER NOT NULL,

    PRIMARY KEY ("instance", "user", "backup", "roomId")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "backup_session" (
    "instance" INTEGER NOT NULL,
    "user" BIGINT NOT NULL,
    "backupRoom" BIGINT NOT NULL,
    "sessionId" TEXT NOT NULL,
    "firstMessageIndex" INTEGER NOT NULL,
    "forwardedCount" INTEGER NOT NULL,
    "isVerified" INTEGER NOT NULL,
    "sessionData" TEXT NOT NULL,

    PRIMARY KEY ("instance", "user", "backupRoom", "sessionId")
) WITHOUT ROWID;

-- CreateIndex
CREATE INDEX "key_count_instance_appservice_position_idx" ON "key_count"("instance", "appservice", "position");

-- CreateIndex
CREATE INDEX "signature_instance_signer_position_idx" ON "signature"("instance", "signer", "position");

-- CreateIndex
CREATE INDEX "device_list_change_instance_position_idx" ON "device_list_change"("instance", "position");

-- CreateIndex
CREATE INDEX "to_device_instance_appservice_position_idx" ON "to_device"("instance", "appservice", "position");

-- CreateIndex
CREATE INDEX "backup_room_instance_user_backup_key_idx" ON "backup_room"("instance", "user", "backup", "key");
