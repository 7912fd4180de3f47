// SPDX-License-Identifier: GPL-2.0+
/*
 * The kernel's interrupt simulator as a part of gpio-sim. It is meant to be built into the kernel, where it exports what gpio-sim
 * takes from it, and reaches what no module does.
 */

#include <linux/export.h>
#include <linux/irq.h>

#undef EXPORT_SYMBOL_GPL
#define EXPORT_SYMBOL_GPL(symbol)
#define irq_to_desc(irq) irq_data_to_desc(irq_get_irq_data(irq))

#include "irq-sim-core.c"
