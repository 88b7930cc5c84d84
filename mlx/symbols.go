package mlx

import "strings"

// fn numbers a function of the C API: an index into symbolNames and into
// Library.fns, the addresses.
type fn int

const (
	fnSetErrorHandler fn = iota
	fnVersion
	fnStringNew
	fnStringData
	fnStringFree

	fnArrayFree
	fnArrayNewData
	fnArrayNdim
	fnArrayShape
	fnArrayDtype
	fnArraySize
	fnArrayNbytes
	fnArrayEval
	fnArrayDataUint8
	fnArrayIsRowContiguous

	fnVectorArrayNewData
	fnVectorArrayFree
	fnVectorArraySize
	fnVectorArrayGet
	fnVectorArraySetData
	fnVectorStringNewData
	fnVectorStringFree

	fnDeviceNewType
	fnDeviceFree
	fnDeviceCount
	fnDeviceInfoNew
	fnDeviceInfoGet
	fnDeviceInfoFree
	fnDeviceInfoGetString
	fnDeviceInfoGetSize
	fnStreamNewDevice
	fnStreamFree
	fnSynchronize
	fnMetalIsAvailable
	fnCudaIsAvailable

	fnGetActiveMemory
	fnGetPeakMemory
	fnGetCacheMemory
	fnGetMemoryLimit
	fnResetPeakMemory
	fnSetMemoryLimit
	fnSetCacheLimit
	fnSetWiredLimit
	fnClearCache

	fnEval
	fnAsyncEval

	fnClosureNewFuncPayload
	fnClosureFree
	fnClosureApply
	fnCompile

	fnMapArrayNew
	fnMapArrayFree
	fnMapArrayInsert
	fnMapArrayIteratorNew
	fnMapArrayIteratorFree
	fnMapArrayIteratorNext
	fnMapStringNew
	fnMapStringFree
	fnMapStringInsert
	fnMapStringIteratorNew
	fnMapStringIteratorFree
	fnMapStringIteratorNext
	fnLoad
	fnSave
	fnLoadSafetensors
	fnSaveSafetensors

	fnReshape
	fnTransposeAxes
	fnTranspose
	fnSwapAxes
	fnMoveAxis
	fnExpandDims
	fnExpandDimsAxes
	fnSqueeze
	fnSqueezeAxes
	fnFlatten
	fnUnflatten
	fnBroadcastTo
	fnConcatenate
	fnStack
	fnSplit
	fnSplitSections
	fnRepeat
	fnTile
	fnRoll
	fnPad
	fnSlice
	fnSliceUpdate
	fnSliceDynamic
	fnSliceUpdateDynamic
	fnTake
	fnTakeAlongAxis
	fnPutAlongAxis
	fnScatter
	fnScatterAdd
	fnScatterAddAxis
	fnGather
	fnAsType
	fnView
	fnContiguous
	fnCopy
	fnZeros
	fnFull
	fnArange
	fnTri
	fnTril
	fnTriu

	fnAdd
	fnSubtract
	fnMultiply
	fnDivide
	fnMaximum
	fnMinimum
	fnPower
	fnRemainder
	fnFloorDivide
	fnLogAddExp
	fnEqual
	fnNotEqual
	fnGreater
	fnGreaterEqual
	fnLess
	fnLessEqual
	fnLogicalAnd
	fnLogicalOr
	fnBitwiseAnd
	fnBitwiseOr
	fnBitwiseXor
	fnLeftShift
	fnRightShift

	fnNegative
	fnAbs
	fnExp
	fnExpm1
	fnLog
	fnLog1p
	fnSigmoid
	fnTanh
	fnErf
	fnSqrt
	fnRsqrt
	fnSquare
	fnReciprocal
	fnSin
	fnCos
	fnFloor
	fnCeil
	fnSign
	fnLogicalNot
	fnIsNaN
	fnIsInf
	fnRound
	fnClip
	fnWhere

	fnSumAxes
	fnMaxAxes
	fnMinAxes
	fnMeanAxes
	fnProdAxes
	fnAllAxes
	fnAnyAxes
	fnLogSumExpAxes
	fnSum
	fnMax
	fnMin
	fnMean
	fnProd
	fnAll
	fnAny
	fnLogSumExp
	fnArgmaxAxis
	fnArgminAxis
	fnSoftmaxAxis
	fnCumsum
	fnCumsumAxis
	fnSort
	fnArgSort
	fnPartition
	fnArgPartition
	fnTopK

	fnMatmul
	fnAddMM
	fnGatherMM
	fnQuantize
	fnDequantize
	fnQuantizedMatmul
	fnGatherQMM
	fnRMSNorm
	fnLayerNorm
	fnRope
	fnRopeDynamic
	fnScaledDotProductAttention

	fnRandomKey
	fnRandomSplit
	fnRandomUniform
	fnRandomNormal
	fnRandomGumbel
	fnRandomCategorical

	fnCUDAKernelNew
	fnCUDAKernelFree
	fnCUDAKernelApply
	fnCUDAConfigNew
	fnCUDAConfigFree
	fnCUDAConfigAddOutput
	fnCUDAConfigSetGrid
	fnCUDAConfigSetThreadGroup
	fnCUDAConfigSetInitValue
	fnCUDAConfigAddDtype
	fnCUDAConfigAddInt
	fnCUDAConfigAddBool

	fnMetalKernelNew
	fnMetalKernelFree
	fnMetalKernelApply
	fnMetalConfigNew
	fnMetalConfigFree
	fnMetalConfigAddOutput
	fnMetalConfigSetGrid
	fnMetalConfigSetThreadGroup
	fnMetalConfigSetInitValue
	fnMetalConfigAddDtype
	fnMetalConfigAddInt
	fnMetalConfigAddBool

	fnCount
)

// optional functions may be missing: the binding then does without.
var optional = map[fn]bool{
	fnCumsumAxis: true, // since MLX 0.32, where fnCumsum lost its axis
}

// opName is a function's name as MLX's users know it: "mlx_fast_rms_norm" is
// "rms_norm", "mlx_sum_axes" is "sum".
func opName(f fn) string {
	name := strings.TrimPrefix(strings.TrimPrefix(symbolNames[f], "mlx_"), "fast_")
	for _, variant := range []string{"_axes", "_axis", "_dynamic", "_sections", "_num"} {
		if base, ok := strings.CutSuffix(name, variant); ok && f != fnTakeAlongAxis && f != fnPutAlongAxis && f != fnScatterAddAxis {
			return base
		}
	}
	return name
}
