/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.uapi;

/** io_uring(7) in numbers, under the kernel's names; source: include/uapi/linux/io_uring.h. */
public final class IoUring {
    // io_uring_setup(2)

    public static final int IORING_SETUP_CQSIZE = 1 << 3;
    public static final int IORING_SETUP_R_DISABLED = 1 << 6;
    public static final int IORING_SETUP_SINGLE_ISSUER = 1 << 12;
    public static final int IORING_SETUP_DEFER_TASKRUN = 1 << 13;

    /** {@code struct io_uring_params}. */
    public interface Params {
        int SIZE = 120;
        int CQ_ENTRIES = 4;
        int FLAGS = 8;
        int SQ_OFF = 40;
        int CQ_OFF = 80;
    }

    /** {@code struct io_sqring_offsets}. */
    public interface SqOffsets {
        int HEAD = 0;
        int TAIL = 4;
        int FLAGS = 16;
        int ARRAY = 24;
    }

    /** {@code struct io_cqring_offsets}. */
    public interface CqOffsets {
        int HEAD = 0;
        int TAIL = 4;
        int CQES = 20;
    }

    /** In the flags of the submission queue: completions wait in the kernel for room in the completion queue. */
    public static final int IORING_SQ_CQ_OVERFLOW = 1 << 1;

    /** The mmap offset of both queues. The entries of the submission queue are at {@link #IORING_OFF_SQES}. */
    public static final long IORING_OFF_SQ_RING = 0;

    public static final long IORING_OFF_SQES = 0x1000_0000;

    // io_uring_register(2)

    public static final int IORING_REGISTER_ENABLE_RINGS = 12;

    // io_uring_enter(2)

    public static final int IORING_ENTER_GETEVENTS = 1;
    public static final int IORING_ENTER_EXT_ARG = 1 << 3;

    /** {@code struct io_uring_getevents_arg}. */
    public interface GeteventsArg {
        int SIZE = 24;
        int TS = 16;
    }

    /** {@code struct io_uring_sqe}. */
    public interface Sqe {
        int SIZE = 64;
        int OPCODE = 0;
        int FLAGS = 1;
        int FD = 4;
        int ADDR = 16;
        int LEN = 24;
        int POLL32_EVENTS = 28;
        int CANCEL_FLAGS = 28;

        int USER_DATA = 32;
    }

    public static final byte IOSQE_CQE_SKIP_SUCCESS = 1 << 6;
    public static final byte IORING_OP_POLL_ADD = 6;
    public static final byte IORING_OP_ASYNC_CANCEL = 14;
    /** In {@code len} of a poll: the request completes each time that the file is ready. */
    public static final int IORING_POLL_ADD_MULTI = 1;

    public static final int IORING_ASYNC_CANCEL_ALL = 1;

    /** {@code struct io_uring_cqe}. */
    public interface Cqe {
        int SIZE = 16;
        int USER_DATA = 0;
        int RES = 8;
        int FLAGS = 12;
    }

    /** The request completes again later. */
    public static final int IORING_CQE_F_MORE = 1 << 1;

    private IoUring() {}
}
