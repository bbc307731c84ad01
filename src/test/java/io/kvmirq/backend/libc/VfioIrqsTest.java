/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioIrqInfo;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The answers of a VFIO device are passed through: few machines have one. */
class VfioIrqsTest {
    private static final int MSIX = UapiVfio.VFIO_PCI_MSIX_IRQ_INDEX;
    private static final int RELEASE = UapiVfio.VFIO_IRQ_SET_DATA_NONE | UapiVfio.VFIO_IRQ_SET_ACTION_TRIGGER;

    private final List<ByteBuffer> addressed = new ArrayList<>();
    private int answer;

    private final KernelBackend kernel = LibcBackend.over(
            (Libc) Proxy.newProxyInstance(
                    Libc.class.getClassLoader(),
                    new Class<?>[] {Libc.class},
                    (proxy, method, arguments) -> switch (method.getName()) {
                        case "addressOf" -> {
                            addressed.add((ByteBuffer) arguments[0]);
                            yield (long) addressed.size();
                        }
                        case "ioctl" -> {
                            if (arguments[1].equals(UapiVfio.VFIO_DEVICE_GET_IRQ_INFO)) {
                                describe(addressed.get(((Long) arguments[2]).intValue() - 1));
                            }
                            yield answer;
                        }
                        default -> throw new UnsupportedOperationException(method.getName());
                    }),
            "answering",
            "",
            "amd64");

    /** As the kernel fills the structure; it does so too before it fails to copy it back. */
    private static void describe(ByteBuffer info) {
        assertThat(info.getInt(VfioIrqInfo.ARGSZ)).isEqualTo(VfioIrqInfo.SIZE);
        assertThat(info.getInt(VfioIrqInfo.INDEX)).isEqualTo(MSIX);
        info.putInt(VfioIrqInfo.FLAGS, UapiVfio.VFIO_IRQ_INFO_EVENTFD | UapiVfio.VFIO_IRQ_INFO_NORESIZE);
        info.putInt(VfioIrqInfo.COUNT, 2048);
    }

    @Test
    void recordHasFlagsAndCountInNativeOrder() {
        for (ByteOrder order : List.of(ByteOrder.LITTLE_ENDIAN, ByteOrder.BIG_ENDIAN)) {
            ByteBuffer info = Buffers.allocate(KernelBackend.VFIO_IRQ_SIZE).order(order);
            assertThat(kernel.vfioIrqInfo(7, MSIX, info)).isZero();
            info.order(ByteOrder.nativeOrder());
            assertThat(info.getInt(KernelBackend.VFIO_IRQ_FLAGS)).isEqualTo(9);
            assertThat(info.getInt(KernelBackend.VFIO_IRQ_COUNT)).isEqualTo(2048);
        }
    }

    @Test
    void errorLeavesTheRecordAlone() {
        ByteBuffer info = Buffers.allocate(KernelBackend.VFIO_IRQ_SIZE).putLong(0, -1);
        answer = -Errno.EINVAL.number();
        assertThat(kernel.vfioIrqInfo(7, MSIX, info)).isEqualTo(answer);
        assertThat(info.getLong(0)).isEqualTo(-1);
    }

    /** Neither success nor an errno: nothing was enabled, 3 vectors are available. */
    @Test
    void numberOfAvailableVectorsIsPassedThrough() {
        answer = 3;
        ByteBuffer set = Buffers.allocate(KernelBackend.VFIO_IRQS_HEADER_SIZE);
        assertThat(kernel.vfioIrqsSet(7, RELEASE, MSIX, 0, 8, set)).isEqualTo(3);
    }

    @Test
    void resetThatFailsSaysWhy() {
        answer = -Errno.EAGAIN.number();
        assertThat(kernel.vfioDeviceReset(7)).isEqualTo(answer);
    }
}
