/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.path;

import io.kvmirq.Gsi;
import io.kvmirq.HostIrq;
import io.kvmirq.InterruptVector;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.mirror.Posting;
import io.kvmirq.testing.Recorded;
import io.kvmirq.vfio.DeviceIrq;
import io.kvmirq.vfio.VfioDevice;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** The drawing of the README: each hop of a path is there, by the name of its class. */
class PictureTest {
    private static final Map<Hop<?>, Class<?>> CLASSES = Map.of(
            Hop.DEVICE, VfioDevice.class,
            Hop.HOST_IRQ, HostIrq.class,
            Hop.DEVICE_VECTOR, DeviceIrq.class,
            Hop.VMM, Vm.class,
            Hop.EVENTFD, EventFd.class,
            Hop.IRQFD, Irqfd.class,
            Hop.GSI, Gsi.class,
            Hop.GUEST_VECTOR, InterruptVector.class,
            Hop.VCPU, Vcpu.class,
            Hop.POSTING, Posting.class);

    private static final int WIDTH = 150;
    private static final int HEIGHT = 44;
    private static final int STEP = 180;
    private static final int LEFT = 20;
    private static final int UPPER = 20;
    private static final int LOWER = 150;

    /** The boxes of a row. */
    private static final int ROW = 4;

    private final List<String> drawn = new ArrayList<>();

    @Test
    void everyHopIsDrawn() throws IOException {
        List<Hop<?>> boxes = new ArrayList<>(Hop.all());
        boxes.removeAll(List.of(Hop.VMM, Hop.POSTING));
        add("<svg xmlns='http://www.w3.org/2000/svg' width='730' height='230' viewBox='0 0 730 230'"
                + " font-family='monospace' font-size='15' text-anchor='middle' fill='none' stroke='#345'>");
        add("<title>The path of an interrupt, from %s to %s</title>", name(Hop.DEVICE), name(Hop.VCPU));
        add("<marker id='head' markerWidth='9' markerHeight='8' refX='8' refY='4' orient='auto'>"
                + "<path d='M0,0 L9,4 L0,8 z' fill='#345' stroke='none'/></marker>");
        add("<rect x='1' y='1' width='728' height='228' rx='8' fill='#fff' stroke='#ccc'/>");
        add("<rect x='8' y='112' width='714' height='106' rx='8' fill='#f2f5f9'/>");
        text(684, 134, Hop.VMM);
        for (int i = 0; i < boxes.size(); i++) {
            boolean upper = i < ROW;
            int x = LEFT + STEP * (upper ? i : 2 * ROW - 1 - i);
            int y = upper ? UPPER : LOWER;
            int middle = y + HEIGHT / 2;
            add("<rect x='%d' y='%d' width='%d' height='%d' rx='6' fill='#fff'/>", x, y, WIDTH, HEIGHT);
            text(x + WIDTH / 2, middle + 5, boxes.get(i));
            if (i == ROW - 1) {
                arrow(x + WIDTH / 2, UPPER + HEIGHT, x + WIDTH / 2, LOWER, "");
            } else if (i < boxes.size() - 1) {
                int from = upper ? x + WIDTH : x;
                arrow(from, middle, from + (upper ? 1 : -1) * (STEP - WIDTH), middle, "");
            }
        }
        arrow(LEFT + WIDTH / 2, UPPER + HEIGHT, LEFT + WIDTH / 2, LOWER, " stroke-dasharray='6 4'");
        text(LEFT + WIDTH / 2 + 45, 92, Hop.POSTING);
        add("</svg>");
        Recorded.compare("src/docs/path.svg", drawn, "so that the README no longer draws it", PictureTest.class);
    }

    private void add(String line, Object... values) {
        drawn.add(String.format(Locale.ROOT, line, values));
    }

    private void arrow(int fromX, int fromY, int x, int y, String style) {
        add("<path d='M%d,%d L%d,%d' marker-end='url(#head)'%s/>", fromX, fromY, x, y, style);
    }

    private void text(int x, int y, Hop<?> hop) {
        add("<text x='%d' y='%d' fill='#123' stroke='none'>%s</text>", x, y, name(hop));
    }

    private static String name(Hop<?> hop) {
        return CLASSES.get(hop).getSimpleName();
    }
}
