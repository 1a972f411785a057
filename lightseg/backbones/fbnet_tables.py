"""The published architectures of FBNet (arXiv:1812.03443) and FBNetV2 (arXiv:2004.05565), block by block.

FBNet's are those of Figure 4 as released, FBNetV2's those of the released nets (F0 and L3 are not in the paper). All
widths are in channels. L3 was published with expansion ratios: `mid` is the input channels times the ratio, rounded to
a multiple of 8.
"""

from dataclasses import replace

from lightseg.catalog.arch import Act, Arch, Block, ConvHead, IRPoolHead, Skip, Stem

HS: Act = "hswish"

# fmt: off
# Block: kernel, mid, out, stride
FBNET_A = Arch("fbnet_a", Stem(16), (
    (Skip(16),),
    (Block(3, 48, 24, 2), Block(3, 24, 24), Skip(24), Skip(24)),
    (Block(5, 144, 32, 2), Block(3, 96, 32), Block(5, 32, 32), Block(3, 96, 32)),
    (Block(5, 192, 64, 2), Block(5, 192, 64), Block(5, 64, 64, groups=2), Block(5, 384, 64)),
    (Block(3, 384, 112), Block(5, 112, 112, groups=2), Block(5, 336, 112), Block(3, 112, 112, groups=2)),
    (Block(5, 672, 184, 2), Block(5, 1104, 184), Block(5, 552, 184), Block(5, 1104, 184)),
    (Block(5, 1104, 352),),
), ConvHead(1504), conv_bias=True)

FBNET_B = Arch("fbnet_b", Stem(16), (
    (Block(3, 16, 16),),
    (Block(3, 96, 24, 2), Block(5, 24, 24), Block(3, 24, 24), Block(3, 24, 24)),
    (Block(5, 144, 32, 2), Block(5, 96, 32), Block(3, 192, 32), Block(5, 192, 32)),
    (Block(5, 192, 64, 2), Block(5, 384, 64), Skip(64), Block(5, 192, 64)),
    (Block(5, 384, 112), Block(3, 112, 112), Block(5, 112, 112), Block(5, 336, 112)),
    (Block(5, 672, 184, 2), Block(5, 184, 184), Block(5, 1104, 184), Block(5, 1104, 184)),
    (Block(3, 1104, 352),),
), ConvHead(1984), conv_bias=True)

FBNET_C = Arch("fbnet_c", Stem(16), (
    (Block(3, 16, 16),),
    (Block(3, 96, 24, 2), Skip(24), Block(3, 24, 24), Block(3, 24, 24)),
    (Block(5, 144, 32, 2), Block(5, 96, 32), Block(5, 192, 32), Block(3, 192, 32)),
    (Block(5, 192, 64, 2), Block(5, 192, 64), Block(5, 384, 64), Block(5, 384, 64)),
    (Block(5, 384, 112), Block(5, 672, 112), Block(5, 672, 112), Block(5, 336, 112)),
    (Block(5, 672, 184, 2), Block(5, 1104, 184), Block(5, 1104, 184), Block(5, 1104, 184)),
    (Block(3, 1104, 352),),
), ConvHead(1984), conv_bias=True)

# Block: kernel, mid, out, stride, se, act
FBNETV2_F0 = Arch("fbnetv2_f0", Stem(8, HS), (
    (Block(5, 8, 8, act=HS),),
    (Block(5, 32, 16, 2, act=HS), Block(5, 48, 16, act=HS)),
    (Block(5, 64, 24, 2, True), Block(5, 72, 24, 1, True)),
    (Block(5, 96, 48, 2, True, HS), Block(3, 144, 48, 1, True, HS)),
    (Block(5, 144, 64, 1, True, HS), Block(5, 128, 64, 1, True, HS)),
    (Block(3, 192, 128, 2, True, HS), Block(5, 384, 160, 1, True, HS), Skip(192)),
), IRPoolHead(768, 1280), 224)

FBNETV2_F1 = Arch("fbnetv2_f1", Stem(8, HS), (
    (Block(5, 8, 8),),
    (Block(5, 48, 24, 2), Block(5, 112, 24)),
    (Block(5, 128, 32, 2, True), Block(5, 144, 24, 1, True)),
    (Block(5, 136, 56, 2, act=HS), Block(3, 232, 56, act=HS), Block(3, 288, 56, 1, True, HS)),
    (Skip(80), Block(5, 360, 80, 1, True, HS), Block(5, 144, 80, 1, True, HS)),
    (Block(3, 368, 144, 2, True, HS), Block(5, 840, 144, 1, True, HS), Block(5, 992, 144, 1, True, HS), Skip(224)),
), IRPoolHead(1344, 1600), 128)
FBNETV2_F2 = replace(FBNETV2_F1, name="fbnetv2_f2", input_size=160)
FBNETV2_F3 = replace(FBNETV2_F1, name="fbnetv2_f3", head=IRPoolHead(1344, 1984), input_size=192)

FBNETV2_F4 = Arch("fbnetv2_f4", Stem(16, HS), (
    (Block(3, 16, 16, act=HS),),
    (Block(5, 88, 24, 2, act=HS), Block(5, 48, 24, act=HS), Block(5, 48, 24, act=HS)),
    (Block(5, 128, 32, 2, True), Block(5, 112, 32, 1, True), Block(5, 144, 32, 1, True), Block(5, 144, 32, 1, True)),
    (Block(5, 184, 64, 2, act=HS), Block(3, 136, 64, act=HS), Skip(64)),
    (Block(3, 320, 104, act=HS), Block(5, 264, 104, 1, True, HS), Block(5, 184, 104, 1, True, HS),
     Block(5, 392, 112, 1, True, HS)),
    (Block(3, 624, 184, 2, True, HS), Block(5, 520, 184, 1, True, HS), Block(5, 896, 184, 1, True, HS), Skip(224)),
), IRPoolHead(1344, 1984), 224)

FBNETV2_L1 = Arch("fbnetv2_l1", Stem(16, HS), (
    (Block(3, 16, 16, act=HS),),
    (Block(5, 88, 24, 2, act=HS), Block(5, 48, 24, act=HS), Block(3, 48, 24, act=HS), Block(5, 48, 24, act=HS)),
    (Block(5, 128, 40, 2, True, HS), Block(5, 144, 32, 1, True, HS), Block(5, 144, 32, 1, True, HS),
     Block(5, 144, 32, 1, True, HS)),
    (Block(5, 184, 64, 2, act=HS), Block(3, 136, 64, act=HS), Skip(64), Block(3, 200, 64, act=HS)),
    (Block(3, 320, 112, act=HS), Block(5, 280, 112, 1, True, HS), Block(5, 200, 112, 1, True, HS),
     Block(5, 312, 112, 1, True, HS), Block(5, 424, 112, 1, True, HS), Block(5, 424, 112, 1, True, HS)),
    (Block(3, 624, 184, 2, True, HS), Block(5, 520, 184, 1, True, HS), Block(5, 520, 184, 1, True, HS),
     Block(5, 896, 184, 1, True, HS), Block(5, 896, 184, 1, True, HS), Skip(224)),
), IRPoolHead(1344, 1984), 224)
FBNETV2_L2 = replace(FBNETV2_L1, name="fbnetv2_l2", input_size=256)

FBNETV2_L3 = Arch("fbnetv2_l3", Stem(24, HS), (
    (Block(3, 24, 24),),
    (Block(5, 128, 32, 2), Block(5, 56, 32), Block(3, 56, 32), Block(5, 56, 32)),
    (Block(5, 168, 48, 2, True), Block(5, 168, 40, 1, True),
     Block(5, 184, 40, 1, True), Block(5, 184, 40, 1, True)),
    (Block(5, 232, 72, 2, act=HS), Block(3, 152, 72, act=HS), Skip(72), Block(3, 224, 72, act=HS)),
    (Block(3, 360, 120, act=HS), Block(5, 304, 120, 1, True, HS), Block(5, 216, 120, 1, True, HS),
     Block(5, 336, 120, 1, True, HS), Block(5, 456, 120, 1, True, HS),
     Block(5, 456, 120, 1, True, HS), Block(5, 456, 120, 1, True, HS)),
    (Block(3, 672, 192, 2, True, HS), Block(5, 544, 192, 1, True, HS), Block(5, 544, 192, 1, True, HS),
     Block(5, 936, 192, 1, True, HS), Block(5, 936, 192, 1, True, HS), Skip(240)),
), IRPoolHead(1440, 1984), 288)
# fmt: on

ARCHS = (
    *(FBNET_A, FBNET_B, FBNET_C),
    *(FBNETV2_F0, FBNETV2_F1, FBNETV2_F2, FBNETV2_F3, FBNETV2_F4),
    *(FBNETV2_L1, FBNETV2_L2, FBNETV2_L3),
)
