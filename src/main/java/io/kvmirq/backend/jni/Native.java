/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.jni;

import java.nio.ByteBuffer;

/** The functions of {@code native/jni.c}, bound when the library is loaded. Arguments are checked by the callers. */
final class Native {
    private Native() {}

    static native int abiVersion();

    static native int abiRecordSize(int record);

    static native int fdClose(int fd);

    static native int fdDup(int fd);

    static native int fdWait(int fd, int wake, long timeout);

    static native int eventfdCreate();

    static native int eventfdCreateSemaphore();

    static native int eventfdSignal(int fd, long count);

    /** Result of the two below: the count looks like an errno or like this, and is in the buffer. */
    static final int COUNT_IN_BUFFER = -4096;

    static native long eventfdDrain(int fd, ByteBuffer count);

    static native long eventfdDrainForeign(int fd, ByteBuffer count);

    static native int kvmOpen(ByteBuffer path);

    static native int kvmVersion(int kvm);

    static native int capabilityCheck(int fd, int capability);

    static native int vmCreate(int kvm, long type);

    static native int irqchipCreate(int vm);

    static native int irqchipCreateSplit(int vm, int pins);

    static native int irqchipGet(int vm, int chip, ByteBuffer state);

    static native int irqchipSet(int vm, int chip, ByteBuffer state);

    static native int x2apicEnable(int vm, long bits);

    static native int routesSet(int vm, ByteBuffer routes, int count);

    static native int irqfdAssign(int vm, int fd, int gsi);

    static native int irqfdAssignLevel(int vm, int fd, int resample, int gsi);

    static native int irqfdDeassign(int vm, int fd, int gsi);

    static native int ioeventfdAssign(int vm, int fd, long address, int len, int flags, long datamatch);

    static native int ioeventfdDeassign(int vm, int fd, long address, int len, int flags, long datamatch);

    static native int msiSignal(int vm, long address, int data, int flags, int devid);

    static native int lineSet(int vm, int gsi, int level);

    static native int lineSetStatus(int vm, int gsi, int level, ByteBuffer status);

    static native int deviceTest(int vm, int type);

    static native int deviceCreate(int vm, int type);

    static native int deviceAttrHas(int dev, int group, long attr);

    static native int deviceVfioAdd(int dev, int fd);

    static native int deviceVfioRemove(int dev, int fd);

    static native int doorIoctl(int fd, long request, long arg);

    static native int doorOpen(long path, int flags, int mode);

    static native int doorFcntl(int fd, int command, int arg);

    static native long doorRead(int fd, long to, long len);

    static native long doorWrite(int fd, long from, long len);

    static native long doorPread(int fd, long to, long len, long offset);

    static native long doorPwrite(int fd, long from, long len, long offset);

    static native long doorPreadv2(int fd, long vectors, int count, long offset, int flags);

    static native long doorMmap(long len, int prot, int flags, int fd, long offset);

    static native int doorMunmap(long address, long len);

    static native int doorPpoll(long fds, long count, long timeout);

    static native int doorEventfd(int count, int flags);

    static native int doorEpollCreate(int flags);

    static native int doorEpollCtl(int epoll, int op, int fd, long event);

    static native int doorEpollWait(int epoll, long events, int max, int timeout);

    static native ByteBuffer view(long address, long len);

    static native long addressOf(ByteBuffer buffer);
}
