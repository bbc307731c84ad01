/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.FileAnswer;
import io.kvmirq.uapi.UapiTable;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.LongFunction;
import java.util.function.ToIntBiFunction;
import org.jspecify.annotations.Nullable;

/**
 * The ioctl requests that one kind of file handles, keyed by number. A request's number contains the size of its
 * structure. All requests are added before the first call. A lookup allocates nothing.
 *
 * @param <F> the kind of file
 */
public final class Requests<F extends FakeFile> {
    /** Position and mask of the structure size in a request number. */
    private static final int SIZE_SHIFT = 16;

    private static final int SIZE_MASK = 0x3fff;

    /** Handles a request whose argument is a value, or an address; the handler itself reads memory at the address. */
    public interface OnValue<F> {
        int answer(F file, long argument);
    }

    /** Handles a request whose structure is followed by data; {@code address} is the structure's address. */
    public interface OnHeader<F> {
        int answer(F file, ByteBuffer header, long address);
    }

    private final Answer unknown;
    private final LongFunction<@Nullable String> notModelled;
    private final List<OnValue<F>> answers = new ArrayList<>();
    private long[] numbers = {};

    /**
     * Creates an empty table. {@code unknown} is the answer to a number that is not in the table. {@code notModelled}
     * returns the number's name if real kernels have the request and the fake lacks it, else null.
     */
    public Requests(Answer unknown, LongFunction<@Nullable String> notModelled) {
        this.unknown = unknown;
        this.notModelled = notModelled;
    }

    /** Returns the name of a request of a kind of file; null if the number is unknown. */
    public static @Nullable String name(UapiTable.FileKind kind, long request) {
        UapiTable.Request known = UapiTable.find(request, kind);
        return known != null && known.kind() == kind ? known.name() : null;
    }

    /** Adds a request whose argument is a value, or an address from which {@code answer} itself reads. */
    public Requests<F> value(long request, OnValue<F> answer) {
        int at = -Arrays.binarySearch(numbers, request) - 1;
        long[] more = Arrays.copyOf(numbers, numbers.length + 1);
        System.arraycopy(numbers, at, more, at + 1, numbers.length - at);
        more[at] = request;
        numbers = more;
        answers.add(at, answer);
        return this;
    }

    /** Adds a request that reads a structure. */
    public Requests<F> in(long request, ToIntBiFunction<F, ByteBuffer> answer) {
        return inHeader(request, (file, structure, address) -> answer.applyAsInt(file, structure));
    }

    /** Adds a request that reads a structure and the data after it. */
    public Requests<F> inHeader(long request, OnHeader<F> answer) {
        return value(request, (file, address) -> {
            ByteBuffer structure = file.host.memory().copyIn(address, size(request));
            return structure == null ? file.host.refuse(FileAnswer.FAULT) : answer.answer(file, structure, address);
        });
    }

    /** Adds a request that reads a structure, and writes it back if the request's result is 0. */
    public Requests<F> inOut(long request, ToIntBiFunction<F, ByteBuffer> answer) {
        return inHeader(request, (file, structure, address) -> {
            int result = answer.applyAsInt(file, structure);
            return result == 0 ? file.host.copyOut(address, structure, size(request)) : result;
        });
    }

    /** Adds a request that fills a zeroed structure, and writes it if the request's result is 0. */
    public Requests<F> out(long request, ToIntBiFunction<F, ByteBuffer> answer) {
        return value(request, (file, address) -> {
            ByteBuffer structure = ByteBuffer.allocate(size(request)).order(ByteOrder.nativeOrder());
            int result = answer.applyAsInt(file, structure);
            return result == 0 ? file.host.copyOut(address, structure, size(request)) : result;
        });
    }

    private static int size(long request) {
        return (int) (request >>> SIZE_SHIFT) & SIZE_MASK;
    }

    public int answer(F file, long request, long argument) {
        int at = Arrays.binarySearch(numbers, request);
        return at < 0 ? refuse(file, request) : answers.get(at).answer(file, argument);
    }

    /** Refuses a request that this table lacks, or that this kernel version does not have yet. */
    public int refuse(F file, long request) {
        // The first name reads annotations by reflection.
        String name = file.host.time().unlocked(() -> notModelled.apply(request));
        if (name != null) {
            throw new NotModelledException(name);
        }
        return file.host.refuse(unknown);
    }
}
