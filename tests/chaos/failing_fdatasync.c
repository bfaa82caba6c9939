/* LD_PRELOAD: one fdatasync fails, the ones before and after it succeed, as a kernel does that has marked the pages clean.
 * FAIL_FDATASYNC_AT: which one, counting from 1; FAIL_FDATASYNC_ERRNO: with which error. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>

int fdatasync(int descriptor)
{
    static int (*real)(int);
    static long count;
    const char *at = getenv("FAIL_FDATASYNC_AT");
    const char *error = getenv("FAIL_FDATASYNC_ERRNO");

    if (real == NULL)
        real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (at != NULL && __sync_add_and_fetch(&count, 1) == atol(at)) {
        errno = error != NULL ? atoi(error) : EIO;
        return -1;
    }
    return real(descriptor);
}
