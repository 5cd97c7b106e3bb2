/* Drops what a process wrote but never synced, as losing power would: preloaded, it keeps beside each log file an undo journal of
 * the bytes that writes since the last fsync/fdatasync replaced. The test plays the journals back after a SIGKILL.
 * UNSYNCED_UNDER names the folder whose files are watched. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* 1 and the journal's path when fd is a watched regular file. */
static int watched(int fd, char *journal, size_t size) {
    const char *under = getenv("UNSYNCED_UNDER");
    char link[64], path[4096];
    struct stat st;
    if (!under || fstat(fd, &st) || !S_ISREG(st.st_mode)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    size_t l = strlen(path);
    if (strncmp(path, under, strlen(under)) || (l > 5 && !strcmp(path + l - 5, ".undo"))) return 0;
    snprintf(journal, size, "%s.undo", path);
    return 1;
}

/* Appends one record: offset, old file size, length, old bytes (those the file had there). */
static void remember(int fd, const char *journal, off_t offset, size_t count) {
    struct stat st;
    if (fstat(fd, &st)) return;
    uint64_t head[3] = {(uint64_t)offset, (uint64_t)st.st_size, 0};
    size_t old = offset < st.st_size ? (size_t)(st.st_size - offset) : 0;
    if (old > count) old = count;
    char *bytes = malloc(old + sizeof head);
    if (!bytes) abort();
    ssize_t got = 0;
    while ((size_t)got < old) {
        ssize_t n = syscall(SYS_pread64, fd, bytes + sizeof head + got, old - got, offset + got);
        if (n <= 0) break;
        got += n;
    }
    head[2] = (uint64_t)got;
    memcpy(bytes, head, sizeof head);
    int j = syscall(SYS_openat, AT_FDCWD, journal, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (j < 0 || syscall(SYS_write, j, bytes, sizeof head + got) != (ssize_t)(sizeof head + got)) abort();
    syscall(SYS_close, j);
    free(bytes);
}

ssize_t pwrite64(int fd, const void *buf, size_t count, off_t offset) {
    char journal[4200];
    if (!watched(fd, journal, sizeof journal)) return syscall(SYS_pwrite64, fd, buf, count, offset);
    pthread_mutex_lock(&lock);
    remember(fd, journal, offset, count);
    ssize_t n = syscall(SYS_pwrite64, fd, buf, count, offset);
    pthread_mutex_unlock(&lock);
    return n;
}
ssize_t pwrite(int fd, const void *buf, size_t count, off_t offset) { return pwrite64(fd, buf, count, offset); }

ssize_t write(int fd, const void *buf, size_t count) {
    char journal[4200];
    if (!watched(fd, journal, sizeof journal)) return syscall(SYS_write, fd, buf, count);
    pthread_mutex_lock(&lock);
    off_t at = (fcntl(fd, F_GETFL) & O_APPEND) ? lseek(fd, 0, SEEK_END) : lseek(fd, 0, SEEK_CUR);
    remember(fd, journal, at, count);
    ssize_t n = syscall(SYS_write, fd, buf, count);
    pthread_mutex_unlock(&lock);
    return n;
}

int ftruncate64(int fd, off_t length) {
    char journal[4200];
    if (!watched(fd, journal, sizeof journal)) return syscall(SYS_ftruncate, fd, length);
    pthread_mutex_lock(&lock);
    struct stat st;
    if (!fstat(fd, &st) && length < st.st_size) remember(fd, journal, length, st.st_size - length);
    else remember(fd, journal, length, 0);
    int r = syscall(SYS_ftruncate, fd, length);
    pthread_mutex_unlock(&lock);
    return r;
}
int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

static int sync_then_forget(int fd, long call) {
    char journal[4200];
    int is = watched(fd, journal, sizeof journal);
    if (is) pthread_mutex_lock(&lock);
    int r = syscall(call, fd);
    if (is) {
        if (r == 0) unlink(journal);
        pthread_mutex_unlock(&lock);
    }
    return r;
}
int fsync(int fd) { return sync_then_forget(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_then_forget(fd, SYS_fdatasync); }
