import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** A device takes what a guest's driver offers in a virtqueue of 256 descriptors, and gives it back as used. */
class TakenDescriptors {
    private static final int SIZE = 256;
    private static final int AVAIL = 16 * SIZE;
    private static final int USED = AVAIL + 4 + 2 * SIZE;
    private static final int LENGTH = USED + 4 + 8 * SIZE;

    public static void main(String[] args) {
        FakeKernel fake = new FakeKernel(Profile.parse("6.18"));
        try (Kernel kernel = fake.open(); // on this machine: Kernel.open()
                Mapping.Owner memory = Mapping.anonymous(kernel, 0x2000)) {
            ByteBuffer view = memory.mapping().view(0, LENGTH);
            // the driver does this: descriptor 7 is a buffer of 1500 bytes at 0x8000
            view.putLong(16 * 7, 0x8000).putInt(16 * 7 + 8, 1500).putShort(AVAIL + 4, (short) 7);
            view.putShort(AVAIL + 2, (short) 1);
            System.out.println("taken: " + take(view, 0) + ", used: " + view.getShort(USED + 2));
        }
    }

    /** @return the next index to take */
    private static int take(ByteBuffer view, int first) {
        ByteBuffer queue = view.slice(0, LENGTH).order(ByteOrder.LITTLE_ENDIAN);
        int next = first;
        while (true) {
            short offered = queue.getShort(AVAIL + 2);
            VarHandle.acquireFence(); // the entry and the descriptor are read after the index
            if (offered == (short) next) {
                return next;
            }
            int head = queue.getShort(AVAIL + 4 + 2 * (next % SIZE)) & SIZE - 1;
            long address = queue.getLong(16 * head);
            int length = queue.getInt(16 * head + 8);
            System.out.println("descriptor " + head + ": " + length + " bytes at 0x" + Long.toHexString(address));
            queue.putInt(USED + 4 + 8 * (next % SIZE), head).putInt(USED + 8 + 8 * (next % SIZE), length);
            VarHandle.releaseFence(); // the entry is visible before the index
            queue.putShort(USED + 2, (short) ++next);
        }
    }
}
